import type { Domains } from '../compose.ts';
import type { ArtifactPayload, RevocationFilter } from '../tokens/index.ts';

/** Whoever uses the command line is an operator. */
export const OPERATOR = { actor: { kind: 'operator' } } as const;

/**
 * Ends the grants and tokens of an account, a client or a grant, and the sessions of an account; what people allowed is
 * forgotten, so that they are asked again. Recorded first: what can't be recorded doesn't happen, and what is recorded and
 * then fails can be done again.
 *
 * @returns how many ended
 */
export async function revokeAccess(
  { audit, artifacts, consents }: Pick<Domains, 'audit' | 'artifacts' | 'consents'>,
  whose: RevocationFilter,
): Promise<number> {
  await audit.record({ type: 'grant.revoked', reason: 'operator_request', ...whose }, OPERATOR);
  if ('accountId' in whose)
    await audit.record({ type: 'session.ended', reason: 'operator_request', ...whose }, OPERATOR);
  await consents.forget('grantId' in whose ? partiesOf(await artifacts.find('Grant', whose.grantId)) : whose);
  return artifacts.revokeAll(whose);
}

function partiesOf(grant: ArtifactPayload | undefined): { accountId?: string; clientId?: string } {
  const { accountId, clientId } = grant ?? {};
  return typeof accountId === 'string' && typeof clientId === 'string' ? { accountId, clientId } : {};
}
