import type { Accounts } from '../accounts/index.ts';
import type { Apis } from '../clients/index.ts';
import type { Clock } from '../config/index.ts';
import type { ArtifactStore, Revocations } from '../tokens/index.ts';
import type { Callers } from './callers.ts';
import { hasExpired, livingGrant } from './living-grant.ts';
import { isStillWorth } from './policies.ts';

/**
 * What the token of an exchange came from, the nearest first: a claim of JWTs, stored with opaque tokens, and shown by no
 * introspection.
 */
export const LINKS_CLAIM = 'exchanged_from';

/** A token or key that another token came from: where it ends, so does the other. Nothing of it can be presented. */
export type TokenLink = Readonly<{
  /** Whom it was issued to; an API key's own. */
  client_id: string;
  /** Of a person: the grant, and the session where the token ends with it. */
  grant_id?: string;
  session_uid?: string;
  /** Of what is stateless: the revision that the node knew, and a JWT's own id. */
  rev?: number;
  jti?: string;
  /** Of what is stored: its key there. */
  key?: string;
  /** Of what was got with an API key, or is one: the API, and the scopes that came of it. */
  aud?: string;
  scope?: string;
}>;

export type LinkSources = Readonly<{
  clients: Pick<Callers, 'find' | 'apiKeyOf'>;
  apis: Apis;
  accounts: Pick<Accounts, 'find'>;
  artifacts: Pick<ArtifactStore, 'find' | 'findByUid' | 'hasKey'>;
  revocations: Pick<Revocations, 'isRevoked'>;
  clock: Clock;
}>;

/** The person that a token is about, where a grant or an API key says so. */
type Parties = { accountId?: string };

/**
 * Tells whether all that a token came from is alive: nothing of it was revoked, its clients are registered, its grants and
 * sessions there, its accounts enabled, and its API keys still worth what was got with them.
 *
 * @param sub whom the token is about: a person, or somebody else
 * @returns undefined where one has ended. @throws the database's own error
 */
export type LinkReader = (links: readonly TokenLink[], sub: string) => Promise<Parties | undefined>;

export function createLinkReader(sources: LinkSources): LinkReader {
  return async (links, sub) => {
    // Side by side, so that they share their statements with each other.
    const found = await Promise.all(links.map((link) => partiesOfLink(link, sub, sources)));
    if (found.some((parties) => parties === undefined)) return undefined;
    return found.some((parties) => parties?.accountId === sub) ? { accountId: sub } : {};
  };
}

/** The links in what was stored with a token, or stands in a verified JWT; none: it came of no exchange. */
export function linksIn(claims: Readonly<Record<string, unknown>> | undefined): readonly TokenLink[] {
  const links = claims?.[LINKS_CLAIM];
  // Both are our own words.
  return Array.isArray(links) ? (links as TokenLink[]) : [];
}

async function partiesOfLink(link: TokenLink, sub: string, sources: LinkSources): Promise<Parties | undefined> {
  const { clients, accounts, artifacts } = sources;
  const nobody: Parties = {};
  const [client, person, isStored] = await Promise.all([
    clients.find(link.client_id),
    link.grant_id === undefined ? nobody : personOf(link.grant_id, link, sources),
    link.key === undefined ? true : artifacts.hasKey(link.key),
  ]);
  if (client === undefined || person === undefined || !isStored) return undefined;
  if (link.rev !== undefined && isRevoked(link, person.accountId ?? sub, sources)) return undefined;
  const owner = clients.apiKeyOf(client)?.owner;
  // A key is no client once its owner is none, or disabled.
  if (owner !== undefined) {
    if (!isStillWorth(client, { audience: link.aud, scope: link.scope }, sources.apis)) return undefined;
    return owner.kind === 'account' ? { accountId: owner.accountId } : {};
  }
  if (person.accountId === undefined) return {};
  const account = await accounts.find(person.accountId);
  return account === undefined || account.isDisabled ? undefined : person;
}

function isRevoked({ client_id, jti = '', rev = 0 }: TokenLink, accountId: string, { revocations }: LinkSources) {
  return revocations.isRevoked({ jti, clientId: client_id, accountId, revision: rev });
}

/** @returns undefined where the grant, or the session that counts, has ended or is another's */
async function personOf(
  grantId: string,
  { client_id, session_uid }: TokenLink,
  sources: LinkSources,
): Promise<Parties | undefined> {
  const [grant, session] = await Promise.all([
    livingGrant(grantId, client_id, sources),
    session_uid === undefined ? undefined : sources.artifacts.findByUid(session_uid),
  ]);
  if (grant === undefined) return undefined;
  if (session_uid === undefined) return { accountId: grant.accountId };
  const authorizations = session?.authorizations as Record<string, { grantId?: string }> | undefined;
  const isOfSession = session?.accountId === grant.accountId && authorizations?.[client_id]?.grantId === grantId;
  return isOfSession && !hasExpired(session, sources.clock) ? { accountId: grant.accountId } : undefined;
}
