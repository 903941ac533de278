import type { Domains } from '../compose.ts';
import type { RevocationFilter } from '../tokens/index.ts';

/** Whoever uses the command line is an operator. */
export const OPERATOR = { actor: { kind: 'operator' } } as const;

/**
 * Ends the grants and tokens of an account, a client or a grant, and the sessions of an account. Recorded first: what
 * can't be recorded doesn't happen, and what is recorded and then fails can be done again.
 *
 * @returns how many ended
 */
export async function endHeld(
  { audit, artifacts }: Pick<Domains, 'audit' | 'artifacts'>,
  whose: RevocationFilter,
): Promise<number> {
  await audit.record({ type: 'grant.revoked', reason: 'operator_request', ...whose }, OPERATOR);
  if ('accountId' in whose)
    await audit.record({ type: 'session.ended', reason: 'operator_request', ...whose }, OPERATOR);
  return artifacts.revokeAll(whose);
}
