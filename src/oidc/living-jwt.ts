import type { Clock } from '../config/index.ts';
import type { ArtifactStore, Revocations } from '../tokens/index.ts';
import { type AccessTokenClaims, GRANT_ID_CLAIM, type JwtVerifier, REVISION_CLAIM } from './jwt-access-token.ts';
import { livingGrant } from './living-grant.ts';
import { type LinkReader, linksIn } from './token-exchange-links.ts';

/**
 * A JWT access token that is neither expired nor revoked; a person's has a grant, and the account behind it. One that came of
 * an exchange is about an account where what it came from was a person's.
 */
export type LivingJwt = { claims: AccessTokenClaims; grantId?: string; accountId?: string };

/** @returns undefined for what is no JWT access token of ours, or a dead one. @throws the database's own error */
export type LivingJwtReader = (token: string) => Promise<LivingJwt | undefined>;

export type JwtSources = {
  artifacts: Pick<ArtifactStore, 'find'>;
  revocations: Pick<Revocations, 'isRevoked'>;
  /** Of a token that came of an exchange. */
  readLinks: LinkReader;
  clock: Clock;
};

/**
 * Tells by its grant and by what was revoked whether a verified JWT is alive. Whether client and account still are, is for
 * `mayIntrospect` to say, as for every other token.
 */
export function createLivingJwtReader(verify: JwtVerifier, sources: JwtSources): LivingJwtReader {
  return async (token) => {
    const claims = await verify(token);
    if (claims === undefined) return undefined;
    const grantId = claims[GRANT_ID_CLAIM];
    const parties: Pick<LivingJwt, 'grantId' | 'accountId'> | undefined =
      grantId === undefined ? {} : await livingGrant(grantId, claims.client_id, sources);
    if (parties === undefined) return undefined;
    const links = linksIn(claims);
    const origin = links.length === 0 ? {} : await sources.readLinks(links, claims.sub);
    if (origin === undefined) return undefined;
    const isRevoked = sources.revocations.isRevoked({
      jti: claims.jti,
      clientId: claims.client_id,
      accountId: parties.accountId ?? claims.sub,
      revision: claims[REVISION_CLAIM] ?? 0,
    });
    return isRevoked ? undefined : { claims, ...origin, ...parties };
  };
}
