/**
 * The lifetime of a token, in seconds, that must not outlive what it came from.
 *
 * @param expiresAt of that, in epoch seconds; undefined: it has no end
 */
export function boundedBy(expiresAt: number | undefined, seconds: number): number {
  if (expiresAt === undefined) return seconds;
  // The next second may begin before the library looks at its clock and adds this to it.
  return Math.max(1, Math.min(seconds, expiresAt - Math.ceil(Date.now() / 1_000)));
}
