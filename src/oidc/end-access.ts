import type { Audit, AuditContext, AuditEvent } from '../audit/index.ts';
import type { Clock, Config } from '../config/index.ts';
import type { SigningKeys } from '../keys/index.ts';
import type { ArtifactKind, ArtifactPayload, ArtifactStore, RevocationFilter, Revocations } from '../tokens/index.ts';
import type { ConsentsStore } from './consents-store.ts';
import { createJwtVerifier } from './jwt-access-token.ts';
import { createLivingJwtReader, type LivingJwt } from './living-jwt.ts';

export type AccessStores = {
  audit: Pick<Audit, 'record'>;
  artifacts: Pick<ArtifactStore, 'find' | 'destroy' | 'revokeAll'>;
  consents: Pick<ConsentsStore, 'forget'>;
  revocations: Pick<Revocations, 'revokeToken' | 'revokeClient' | 'revokeAccount'>;
};

/** What tells besides whether a JWT is one of ours, and alive. */
type JwtSources = {
  config: Pick<Config, 'issuer'>;
  clock: Clock;
  signingKeys: Pick<SigningKeys, 'load'>;
  revocations: Pick<Revocations, 'load' | 'isRevoked'>;
};

type TokenKind = Extract<AuditEvent, { type: 'token.revoked' }>['kind'];
type Parties = { accountId?: string; clientId?: string; grantId?: string };
/** A token that was found by its value: what it hangs on, and what ends it alone. */
type FoundToken = { kind: TokenKind; parties: Parties; isStored: boolean; end(): Promise<void> };

/** The opaque tokens that can be revoked by their value (RFC 7009), and what the audit trail calls them. */
const OPAQUE_KINDS: readonly [ArtifactKind, TokenKind][] = [
  ['AccessToken', 'access'],
  ['RefreshToken', 'refresh'],
  ['ClientCredentials', 'client_credentials'],
];

/**
 * Ends everything of an account, a client or a grant: grants and tokens of every format, and the sessions of an account.
 * What people allowed is forgotten, so that they are asked again. Recorded first: what can't be recorded doesn't happen,
 * and what is recorded and then fails can be done again. Durable when it resolves, and in force on every node within a
 * second. To end access for good, refuse the account or the client first: this ends what there is until now.
 *
 * @param by who wants it, for the audit trail
 * @returns how many grants, sessions and stored tokens ended; JWTs are stored nowhere, so nobody counts them
 * @throws the database's own error
 */
export async function endAccess(
  { audit, artifacts, consents, revocations }: AccessStores,
  whose: RevocationFilter,
  by: AuditContext,
): Promise<number> {
  await audit.record({ type: 'grant.revoked', reason: 'operator_request', ...whose }, by);
  if ('accountId' in whose) await audit.record({ type: 'session.ended', reason: 'operator_request', ...whose }, by);
  // A JWT of a person ends with its grant, so a grant needs no mark.
  if ('accountId' in whose) await revocations.revokeAccount(whose.accountId);
  if ('clientId' in whose) await revocations.revokeClient(whose.clientId);
  await consents.forget('grantId' in whose ? await partiesOfGrant(artifacts, whose.grantId) : whose);
  return artifacts.revokeAll(whose);
}

/**
 * Ends one token of any kind by its value and, for a person's, everything of its grant.
 *
 * @returns how many grants and tokens ended, this one among them; 0 where there is no such token alive
 * @throws the database's own error
 */
export async function endToken(stores: AccessStores & JwtSources, value: string, by: AuditContext): Promise<number> {
  const found = (await findOpaque(stores, value)) ?? (await findJwt(stores, value));
  if (found === undefined) return 0;
  const { kind, parties, isStored, end } = found;
  const { grantId } = parties;
  await stores.audit.record({ type: 'token.revoked', kind, ...parties }, by);
  // Before the token itself: once that is dead, nobody could ask again for what failed.
  const ended = grantId === undefined ? 0 : await endAccess(stores, { grantId }, by);
  await end();
  // What is stored and has a grant was counted with it.
  return isStored && grantId !== undefined ? Math.max(1, ended) : ended + 1;
}

async function findOpaque({ artifacts }: AccessStores, value: string): Promise<FoundToken | undefined> {
  for (const [model, kind] of OPAQUE_KINDS) {
    const payload = await artifacts.find(model, value);
    if (payload === undefined) continue;
    return { kind, parties: partiesOf(payload), isStored: true, end: () => artifacts.destroy(model, value) };
  }
  return undefined;
}

async function findJwt(stores: AccessStores & JwtSources, value: string): Promise<FoundToken | undefined> {
  const living = await readJwt(stores, value);
  if (living === undefined) return undefined;
  const { claims, grantId, accountId } = living;
  return {
    kind: grantId === undefined ? 'client_credentials' : 'access',
    parties: partiesOf({ clientId: claims.client_id, grantId, accountId }),
    isStored: false,
    end: () => stores.revocations.revokeToken(claims.jti, claims.exp),
  };
}

async function readJwt(sources: AccessStores & JwtSources, value: string): Promise<LivingJwt | undefined> {
  const [{ publicJwks }] = await Promise.all([
    sources.signingKeys.load(),
    // A command has read none yet, and a server no more than it needs.
    sources.revocations.load(),
  ]);
  return createLivingJwtReader(createJwtVerifier(sources.config.issuer, publicJwks), sources)(value);
}

async function partiesOfGrant(artifacts: Pick<ArtifactStore, 'find'>, grantId: string) {
  const { accountId, clientId } = partiesOf((await artifacts.find('Grant', grantId)) ?? {});
  return accountId !== undefined && clientId !== undefined ? { accountId, clientId } : {};
}

function partiesOf(payload: ArtifactPayload): Parties {
  const named = ['accountId', 'clientId', 'grantId'].filter((member) => typeof payload[member] === 'string');
  return Object.fromEntries(named.map((member) => [member, String(payload[member])]));
}
