import { type ApiKeyOwner, type ApiKeys, toApiKeyClientId } from '../api-keys/index.ts';
import type { Audit, AuditContext } from '../audit/index.ts';
import type { Clock, Config } from '../config/index.ts';
import type { SigningKeys } from '../keys/index.ts';
import type { ArtifactKind, ArtifactPayload, ArtifactStore, RevocationFilter, Revocations } from '../tokens/index.ts';
import type { ConsentsStore } from './consents-store.ts';
import { endByValue, type FoundToken, foundJwt, type TokenParties } from './end-by-value.ts';
import { createJwtVerifier } from './jwt-access-token.ts';
import { createLivingJwtReader, type LivingJwt } from './living-jwt.ts';

export type AccessStores = {
  apiKeys: Pick<ApiKeys, 'list'>;
  audit: Pick<Audit, 'record'>;
  artifacts: Pick<ArtifactStore, 'find' | 'destroy' | 'revokeAll'>;
  /** Makes sure that the clients of an account's sessions will hear of their end. */
  tellClientsOf(accountId: string): Promise<void>;
  consents: Pick<ConsentsStore, 'forget'>;
  revocations: Pick<Revocations, 'revokeToken' | 'revokeClient' | 'revokeAccount'>;
};

/** What tells besides whether a JWT is one of ours, and alive. */
type JwtEvidence = {
  config: Pick<Config, 'issuer'>;
  clock: Clock;
  signingKeys: Pick<SigningKeys, 'load'>;
  revocations: Pick<Revocations, 'load' | 'isRevoked'>;
};

/** The opaque tokens that can be revoked by their value (RFC 7009), and what the audit trail calls them. */
const OPAQUE_KINDS: readonly [ArtifactKind, FoundToken['kind']][] = [
  ['AccessToken', 'access'],
  ['RefreshToken', 'refresh'],
  ['ClientCredentials', 'client_credentials'],
];

/** Nobody waits long for one page, and few owners have a second. */
const KEYS_PER_PAGE = 500;

/**
 * Ends everything of an account, a client or a grant: grants and tokens of every format, those too that were got with API
 * keys of the account or the client, and the sessions of an account. The keys stay, as passwords and client secrets do.
 * What people allowed is forgotten, so that they are asked again; clients that took part in a session hear of its end. Recorded first: what can't be recorded doesn't happen,
 * and what is recorded and then fails can be done again. Durable when it resolves, and in force on every node within a
 * second. To end access for good, refuse the account or the client first: this ends what there is until now.
 *
 * @param by who wants it, for the audit trail
 * @returns how many grants, sessions and stored tokens ended; JWTs are stored nowhere, so nobody counts them
 * @throws the database's own error
 */
export async function endAccess(stores: AccessStores, whose: RevocationFilter, by: AuditContext): Promise<number> {
  const { audit, artifacts, consents, revocations } = stores;
  await audit.record({ type: 'grant.revoked', reason: 'operator_request', ...whose }, by);
  if ('accountId' in whose) await audit.record({ type: 'session.ended', reason: 'operator_request', ...whose }, by);
  // A JWT of a person ends with its grant, so a grant needs no mark.
  if ('accountId' in whose) await revocations.revokeAccount(whose.accountId);
  if ('clientId' in whose) await revocations.revokeClient(whose.clientId);
  await consents.forget('grantId' in whose ? await holdersOfGrant(artifacts, whose.grantId) : whose);
  // While it is known who took part.
  if ('accountId' in whose) await stores.tellClientsOf(whose.accountId);
  const ofKeys = 'grantId' in whose ? 0 : await endTokensOfKeys(stores, toOwner(whose));
  return ofKeys + (await artifacts.revokeAll(whose));
}

/** Tokens that were got with an API key are the key's own; they are about its owner, and stored for neither. */
async function endTokensOfKeys({ apiKeys, artifacts, revocations }: AccessStores, owner: ApiKeyOwner): Promise<number> {
  let ended = 0;
  let page = await apiKeys.list({ owner, limit: KEYS_PER_PAGE });
  while (page.length > 0) {
    for (const { id } of page) {
      const clientId = toApiKeyClientId(id);
      await revocations.revokeClient(clientId);
      ended += await artifacts.revokeAll({ clientId });
    }
    page = await apiKeys.list({ owner, limit: KEYS_PER_PAGE, after: page.at(-1)?.id });
  }
  return ended;
}

function toOwner(whose: Exclude<RevocationFilter, { grantId: string }>): ApiKeyOwner {
  return 'accountId' in whose
    ? { kind: 'account', accountId: whose.accountId }
    : { kind: 'client', clientId: whose.clientId };
}

/**
 * Ends one token of any kind by its value and, for a person's, everything of its grant.
 *
 * @returns how many grants and tokens ended, this one among them; 0 where there is no such token: an opaque one that has
 *   expired or was used up counts for as long as its row is kept
 * @throws the database's own error
 */
export async function endToken(stores: AccessStores & JwtEvidence, value: string, by: AuditContext): Promise<number> {
  const { audit } = stores;
  const endGrant = (grantId: string) => endAccess(stores, { grantId }, by);
  const opaque = await findOpaque(stores, value);
  // With a grant it is counted among the rows of that.
  if (opaque !== undefined) return Math.max(1, (await endByValue(opaque, { audit, by, endGrant })) ?? 0);
  const living = await readJwt(stores, value);
  if (living === undefined) return 0;
  return 1 + ((await endByValue(foundJwt(living, stores.revocations), { audit, by, endGrant })) ?? 0);
}

async function findOpaque({ artifacts }: AccessStores, value: string): Promise<FoundToken | undefined> {
  for (const [model, kind] of OPAQUE_KINDS) {
    const payload = await artifacts.find(model, value);
    if (payload === undefined) continue;
    return { kind, parties: partiesOf(payload), end: () => artifacts.destroy(model, value).then(() => 'token') };
  }
  return undefined;
}

async function readJwt(sources: AccessStores & JwtEvidence, value: string): Promise<LivingJwt | undefined> {
  const [{ publicJwks }] = await Promise.all([
    sources.signingKeys.load(),
    // A command has read none yet, and a server no more than it needs.
    sources.revocations.load(),
  ]);
  const verify = createJwtVerifier(sources.config.issuer, publicJwks);
  // One that came of an exchange is ended whether what it came from is alive or not.
  return createLivingJwtReader(verify, { ...sources, readLinks: async () => ({}) })(value);
}

/** Whose grant it is, alive or not; of one that is unknown, nobody's. */
async function holdersOfGrant(artifacts: Pick<ArtifactStore, 'find'>, grantId: string) {
  const { accountId, clientId } = partiesOf((await artifacts.find('Grant', grantId)) ?? {});
  return accountId !== undefined && clientId !== undefined ? { accountId, clientId } : {};
}

function partiesOf(payload: ArtifactPayload): TokenParties {
  const named = ['accountId', 'clientId', 'grantId'].filter((member) => typeof payload[member] === 'string');
  return Object.fromEntries(named.map((member) => [member, String(payload[member])]));
}
