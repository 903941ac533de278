import { interactionPolicy, type KoaContextWithOIDC } from 'oidc-provider';
import { OPENID_SCOPES } from './claims.ts';

const { Check } = interactionPolicy;

/**
 * The library's policy with two differences. A session whose account is gone or disabled signs in again. And OpenID
 * scopes are told from the scopes of APIs: the library knows them all by one list, and would ask consent for an API's
 * scope as if it were for userinfo.
 */
export function createInteractionPolicy(): interactionPolicy.DefaultPolicy {
  const policy = interactionPolicy.base();
  policy.get('login')?.checks.add(accountAvailable());
  const consent = policy.get('consent');
  consent?.checks.remove('op_scopes_missing');
  consent?.checks.add(openidScopesGranted());
  return policy;
}

function accountAvailable(): interactionPolicy.Check {
  return new Check(
    'account_unavailable',
    'End-User authentication is required',
    'login_required',
    ({ oidc }) => oidc.session?.accountId !== undefined && oidc.account === undefined,
  );
}

function openidScopesGranted(): interactionPolicy.Check {
  return new Check(
    'op_scopes_missing',
    'requested scopes not granted',
    'consent_required',
    (context) => missingOpenidScopes(context).length > 0,
    (context) => ({ missingOIDCScope: missingOpenidScopes(context) }),
  );
}

function missingOpenidScopes({ oidc }: KoaContextWithOIDC): string[] {
  const encountered = new Set(oidc.grant?.getOIDCScopeEncountered().split(' '));
  return OPENID_SCOPES.filter((scope) => oidc.requestParamScopes.has(scope) && !encountered.has(scope));
}
