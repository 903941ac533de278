/** A time as claims and metadata have it (RFC 7519, section 2, NumericDate), whole. */
export function epochSeconds(time: Date): number {
  return Math.floor(time.getTime() / 1_000);
}
