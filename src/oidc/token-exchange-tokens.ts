import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import { parseApiKeyClientId } from '../api-keys/index.ts';
import { scopesIn } from '../clients/index.ts';
import { artifactKey } from '../tokens/index.ts';
import { failClosed } from './faults.ts';
import { REVISION_CLAIM } from './jwt-access-token.ts';
import type { LivingJwtReader } from './living-jwt.ts';
import { type LinkReader, linksIn, type TokenLink } from './token-exchange-links.ts';
import type { Presented } from './token-exchange-request.ts';

/** Who acts for whom, the one who acts now outermost (RFC 8693, section 4.1). */
export type ActClaim = Readonly<{ sub: string; act?: ActClaim }>;

/** A living access token of ours, whatever its format, or an API key, that somebody presented at the token endpoint. */
export type PresentedToken = Readonly<{
  sub: string;
  /** Whom it was issued to. */
  clientId: string;
  /** The person that it is about, if it is one. */
  accountId?: string;
  audience?: string;
  scopes: readonly string[];
  /** Epoch seconds; of a key that lives until it is revoked there is none. */
  expiresAt?: number;
  act?: ActClaim;
  /** Whether only who has its key or certificate may use it (RFC 9449, RFC 8705). */
  isBound?: boolean;
  /** The token itself, then what it came from in its turn. */
  links: readonly [TokenLink, ...TokenLink[]];
  /** Counts one use. @throws where the limits of what was presented allow no more */
  spend?(): void;
}>;

export type PresentedTokenReader = (
  context: KoaContextWithOIDC,
  presented: Presented,
) => Promise<PresentedToken | undefined>;

/** Three parts: signed, or meant to be. An opaque token has no dot. */
const JWT = /^[^.]*\.[^.]*\.[^.]*$/;

/**
 * Makes a reader of access tokens. It looks at the database itself, never at what was true a moment ago, for what is alive
 * is handed out anew. Whether its client and account are there, `mayIntrospect` says.
 *
 * @param sources.readJwt verifies, and looks for what has ended a JWT
 * @returns undefined for what is no access token of ours, or a dead one, without a word on why
 */
export function createPresentedTokenReader(sources: {
  readJwt: LivingJwtReader;
  readLinks: LinkReader;
  now(): number;
}): PresentedTokenReader {
  return async (context, { value, kind }) => {
    const token = JWT.test(value)
      ? await readJwt(value, sources.readJwt)
      : kind === 'jwt'
        ? undefined
        : await readOpaque(value, context.oidc.provider, sources.readLinks);
    // Verification has its tolerance for clocks; of what has none left nothing can be made.
    return token?.expiresAt !== undefined && token.expiresAt > sources.now() / 1_000 ? token : undefined;
  };
}

async function readJwt(value: string, read: LivingJwtReader): Promise<PresentedToken | undefined> {
  const living = await failClosed(() => read(value));
  if (living === undefined) return undefined;
  const { claims, accountId, grantId } = living;
  const { sub, client_id, aud, scope, exp, jti, [REVISION_CLAIM]: rev = 0 } = claims;
  return {
    sub,
    clientId: client_id,
    ...(accountId === undefined ? undefined : { accountId }),
    ...(typeof aud === 'string' ? { audience: aud } : undefined),
    scopes: scopesIn(scope),
    expiresAt: exp,
    isBound: claims.cnf !== undefined,
    ...actIn(claims),
    links: [
      { client_id, jti, rev, ...(grantId && { grant_id: grantId }), ...worthOfKey(client_id, aud, scope) },
      ...linksIn(claims),
    ],
  };
}

async function readOpaque(
  value: string,
  { AccessToken, ClientCredentials }: Provider,
  readLinks: LinkReader,
): Promise<PresentedToken | undefined> {
  const token = (await AccessToken.find(value)) ?? (await ClientCredentials.find(value));
  if (!token?.isValid || token.clientId === undefined || token.exp === undefined) return undefined;
  const ofPerson = token.kind === 'AccessToken' ? token : undefined;
  if (ofPerson !== undefined && ofPerson.grantId === undefined) return undefined;
  const { extra } = token;
  const sub = ofPerson?.accountId ?? (typeof extra?.sub === 'string' ? extra.sub : token.clientId);
  const own: TokenLink = {
    client_id: token.clientId,
    key: artifactKey(token.kind, value),
    ...worthOfKey(token.clientId, token.aud, token.scope),
    ...(ofPerson?.grantId && { grant_id: ofPerson.grantId }),
    ...(ofPerson?.expiresWithSession && ofPerson.sessionUid ? { session_uid: ofPerson.sessionUid } : undefined),
  };
  const links = [own, ...linksIn(extra)] as const;
  const parties = await failClosed(() => readLinks(links, sub));
  if (parties === undefined || (ofPerson !== undefined && parties.accountId === undefined)) return undefined;
  return {
    sub,
    clientId: token.clientId,
    ...(parties.accountId === undefined ? undefined : { accountId: parties.accountId }),
    ...(typeof token.aud === 'string' ? { audience: token.aud } : undefined),
    scopes: [...token.scopes],
    expiresAt: token.exp,
    isBound: token.isSenderConstrained(),
    ...actIn(extra),
    links,
  };
}

/** A token that was got with an API key says no more than the key may ask for now, nor does what comes of it. */
function worthOfKey(clientId: string, audience: unknown, scope: string | undefined): Pick<TokenLink, 'aud' | 'scope'> {
  if (parseApiKeyClientId(clientId) === undefined) return {};
  return { ...(typeof audience === 'string' ? { aud: audience } : undefined), ...(scope && { scope }) };
}

/** Our own words: it was signed by us, or stored with the token. */
function actIn(claims: Readonly<Record<string, unknown>> | undefined): { act?: ActClaim } {
  return claims?.act === undefined ? {} : { act: claims.act as ActClaim };
}
