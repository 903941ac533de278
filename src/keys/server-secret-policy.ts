/** One version of a secret, as far as its life goes. Neither time: announced; the first: in use; both: retired. */
export type ServerSecretVersion = Readonly<{
  name: string;
  /** Counted up for each name and never used again. */
  version: number;
  createdAt: Date;
  activatedAt: Date | undefined;
  retiredAt: Date | undefined;
}>;

/** How the versions of one secret follow one another; lengths of time are seconds. */
export type ServerSecretPolicy = Readonly<{
  /** From the first use of one version to the first use of the next. */
  rotationSeconds: number;
  /** From when every node is told a version to when one may use it. */
  announceSeconds: number;
  /** How long a version that is no longer in use still verifies. */
  retentionSeconds: number;
}>;

/** What is to be done with the versions of one secret now. */
export type DueSecretSteps = Readonly<{
  /** A version is to be made and announced; its number. */
  announce: number | undefined;
  /** The announced version that takes over; its number. */
  promote: number | undefined;
  /** Versions that verify nothing any more. */
  remove: readonly number[];
}>;

/**
 * Says what is due. Pure, so that all nodes come to the same answer from the same rows and the database's time.
 *
 * @param versions of one secret, in any order
 * @param now of the database
 */
export function dueSecretSteps(
  versions: readonly ServerSecretVersion[],
  policy: ServerSecretPolicy,
  now: Date,
): DueSecretSteps {
  const active = versions.find(({ activatedAt, retiredAt }) => activatedAt !== undefined && retiredAt === undefined);
  const next = versions.find(({ activatedAt }) => activatedAt === undefined);
  // Without one in use the secret is yet to be made, which a start does.
  const sinceUse = active?.activatedAt === undefined ? Number.NEGATIVE_INFINITY : secondsSince(active.activatedAt, now);
  const isAnnounceDue = next === undefined && sinceUse >= policy.rotationSeconds - policy.announceSeconds;
  const isAnnouncedLongEnough = next !== undefined && secondsSince(next.createdAt, now) >= policy.announceSeconds;
  return {
    announce: isAnnounceDue ? Math.max(...versions.map(({ version }) => version)) + 1 : undefined,
    promote: isAnnouncedLongEnough && sinceUse >= policy.rotationSeconds ? next.version : undefined,
    remove: versions
      .filter(({ retiredAt }) => retiredAt !== undefined && secondsSince(retiredAt, now) >= policy.retentionSeconds)
      .map(({ version }) => version),
  };
}

function secondsSince(earlier: Date, now: Date): number {
  return (now.getTime() - earlier.getTime()) / 1_000;
}
