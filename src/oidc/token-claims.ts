import type { AccessToken, ClientCredentials, JWTStructured, KoaContextWithOIDC } from 'oidc-provider';
import { apiKeySubject, askForNotedUse } from './api-key-grant.ts';
import { type ClaimBudget, keepWithinBudget } from './claim-budget.ts';
import type { ContextualClaims } from './contextual-claims.ts';
import { GRANT_ID_CLAIM, REVISION_CLAIM } from './jwt-access-token.ts';
import { notedRevision } from './jwt-revision.ts';
import { signInClaims } from './sign-in-claims.ts';
import { exchangeClaims, exchangeOf, keepBound } from './token-exchange-claims.ts';
import { addRoles, type RoleSources } from './token-roles.ts';

type IssuedToken = AccessToken | ClientCredentials;

/**
 * What our access tokens say beyond what the library puts into them, in either format: in a JWT as claims, and by
 * introspection for an opaque token, with which it is stored. A claim that the library sets by itself (`sub`, `client_id`,
 * `aud`, …) wins in a JWT; {@link customizeJwt} may still change it there. Each source is a function of its own, spread here.
 * The library asks once proofs, scopes and resource are in order, so that the use of an API key is asked for here.
 *
 * @returns undefined where there is nothing to add. @throws what refuses the token, where an API key may not be used now, or an exchange would unbind
 */
export async function extraTokenClaims(
  context: KoaContextWithOIDC,
  token: IssuedToken,
  contextual: ContextualClaims | undefined,
): Promise<Record<string, unknown> | undefined> {
  keepBound(context, token);
  askForNotedUse(context, token);
  const added = await contextual?.claimsFor(context, {
    kind: 'access_token',
    accountId: 'accountId' in token ? token.accountId : undefined,
    scopes: [...token.scopes],
    resource: typeof token.aud === 'string' ? token.aud : undefined,
  });
  const claims = { ...added, ...signInClaims(context, token), ...apiKeySubject(context), ...exchangeClaims(context) };
  return Object.keys(claims).length === 0 ? undefined : claims;
}

/**
 * The last change to a JWT before it is signed; it has what {@link extraTokenClaims} gave already. Each step is a function
 * of its own, called here; what throws refuses the token, of which nothing is left behind then.
 */
export async function customizeJwt(
  context: KoaContextWithOIDC,
  token: IssuedToken,
  jwt: JWTStructured,
  sources: RoleSources & { budget: ClaimBudget },
): Promise<void> {
  addRevocationClaims(context, token, jwt);
  addSubject(context, jwt);
  // After whatever says in whose name the token speaks.
  await addRoles(token, jwt, sources);
  keepWithinBudget(token, jwt, sources.budget);
}

/** The library knows a client as the subject of its own token alone. */
function addSubject(context: KoaContextWithOIDC, { payload }: JWTStructured): void {
  const { sub } = exchangeOf(context) ?? apiKeySubject(context);
  if (sub !== undefined) payload.sub = sub;
}

/** What a stateless token is ended by (docs/architecture.md). */
function addRevocationClaims(context: KoaContextWithOIDC, token: IssuedToken, { payload }: JWTStructured): void {
  if ('grantId' in token && token.grantId !== undefined) payload[GRANT_ID_CLAIM] = token.grantId;
  const revision = notedRevision(context);
  if (revision > 0) payload[REVISION_CLAIM] = revision;
}
