import type { Clock } from '../config/index.ts';
import type { ArtifactPayload, ArtifactStore } from '../tokens/index.ts';

/** A grant that is alive, and the person who gave it. */
type LivingGrant = Readonly<{ grantId: string; accountId: string }>;

/**
 * Looks for a grant to one client.
 *
 * @returns undefined where it has ended or expired, or is another client's. @throws the database's own error
 */
export async function livingGrant(
  grantId: string,
  clientId: string,
  { artifacts, clock }: { artifacts: Pick<ArtifactStore, 'find'>; clock: Clock },
): Promise<LivingGrant | undefined> {
  const grant = await artifacts.find('Grant', grantId);
  if (grant?.clientId !== clientId || typeof grant.accountId !== 'string') return undefined;
  return hasExpired(grant, clock) ? undefined : { grantId, accountId: grant.accountId };
}

/** Whether the time of an artifact is over, which its row may outlive; one without `exp` has none. */
export function hasExpired({ exp }: ArtifactPayload, clock: Clock): boolean {
  return typeof exp === 'number' && exp <= Math.floor(clock() / 1_000);
}
