import type { Audit, AuditContext, AuditEvent } from '../audit/index.ts';
import type { Revocations } from '../tokens/index.ts';
import type { LivingJwt } from './living-jwt.ts';

export type TokenParties = { accountId?: string; clientId?: string; grantId?: string };

/** A living token that was found by its value. */
export type FoundToken = Readonly<{
  /** What the audit trail calls it. */
  kind: Extract<AuditEvent, { type: 'token.revoked' }>['kind'];
  /** What it hangs on. */
  parties: TokenParties;
  /** Ends it alone, or says that all its client's tokens had to end with it. */
  end(): Promise<'token' | 'client'>;
}>;

/**
 * Ends a token and, for a person's, its grant. Recorded first: what can't be recorded doesn't happen, and what is recorded
 * and then fails can be done again.
 *
 * @param how.by who wants it, for the audit trail
 * @param how.endGrant ends everything of a grant
 * @returns what `endGrant` says; undefined where the token hangs on none
 * @throws the database's own error
 */
export async function endByValue<Ended>(
  { kind, parties, end }: FoundToken,
  how: { audit: Pick<Audit, 'record'>; by: AuditContext; endGrant(grantId: string): Promise<Ended> },
): Promise<Ended | undefined> {
  await how.audit.record({ type: 'token.revoked', kind, ...parties }, how.by);
  // Before the token itself: once that is dead, nobody could ask again for what failed.
  const ended = parties.grantId === undefined ? undefined : await how.endGrant(parties.grantId);
  if ((await end()) === 'client' && parties.clientId !== undefined) {
    const event = { type: 'grant.revoked', reason: 'too_many_revocations', clientId: parties.clientId } as const;
    await how.audit.record(event, how.by);
  }
  return ended;
}

export function foundJwt(
  { claims, grantId, accountId }: LivingJwt,
  revocations: Pick<Revocations, 'revokeToken'>,
): FoundToken {
  return {
    kind: grantId === undefined ? 'client_credentials' : 'access',
    parties: { clientId: claims.client_id, ...(grantId && { grantId }), ...(accountId && { accountId }) },
    // A person's is dead with its grant, which every look at it asks for.
    end: async () =>
      grantId === undefined
        ? revocations.revokeToken({ jti: claims.jti, clientId: claims.client_id, exp: claims.exp })
        : 'token',
  };
}
