import type { KoaContextWithOIDC } from 'oidc-provider';
import type { Consent, ConsentsStore } from './consents-store.ts';

type Grant = NonNullable<KoaContextWithOIDC['oidc']['grant']>;

/**
 * The grant that a request builds on: the one just consented to, or the session's, or a new one holding what the person
 * has allowed this client before. Every session has a grant of its own, so that ending one leaves the others.
 */
export async function loadExistingGrant(
  context: KoaContextWithOIDC,
  dependencies: { consents: ConsentsStore },
): Promise<Grant | undefined> {
  const { oidc } = context;
  const { client, account, provider } = oidc;
  if (client === undefined || account === undefined) return undefined;
  const grantId = oidc.result?.consent?.grantId ?? oidc.session?.grantIdFor(client.clientId);
  const existing = grantId === undefined ? undefined : await provider.Grant.find(grantId);
  // A grant of another account stays behind in a session whose account changed; it is not this request's.
  if (existing?.accountId === account.accountId) return existing;
  const remembered = await dependencies.consents.find(account.accountId, client.clientId);
  if (remembered === undefined) return undefined;
  const grant = new provider.Grant({ accountId: account.accountId, clientId: client.clientId });
  addConsent(grant, remembered);
  await grant.save();
  return grant;
}

/** Adds what was allowed to a grant. */
export function addConsent(grant: Grant, consent: Consent): void {
  if (consent.scopes.length > 0) grant.addOIDCScope(consent.scopes);
  if (consent.claims.length > 0) grant.addOIDCClaims(consent.claims);
  for (const [resource, scopes] of Object.entries(consent.resourceScopes)) {
    if (scopes.length > 0) grant.addResourceScope(resource, scopes);
  }
}

/** What a grant holds, in the shape in which it is remembered. */
export function toConsent(grant: Grant): Consent {
  return {
    scopes: words(grant.getOIDCScope()),
    claims: grant.getOIDCClaims(),
    resourceScopes: Object.fromEntries(
      Object.keys(grant.resources ?? {}).map((resource) => [resource, words(grant.getResourceScope(resource))]),
    ),
  };
}

function words(scope: string): string[] {
  return scope.split(' ').filter((word) => word !== '');
}
