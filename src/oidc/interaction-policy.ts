import { errors, interactionPolicy, type KoaContextWithOIDC } from 'oidc-provider';
import { OPENID_SCOPES } from '../clients/index.ts';
import { ACR_PASSWORD } from './claims.ts';

const { Check } = interactionPolicy;

/**
 * The library's policy with four differences. A session whose account is gone or disabled signs in again. An `acr` that
 * no sign-in reaches is refused, where the library would ask for the password for ever. And OpenID scopes are told from
 * the scopes of APIs: the library knows them all by one list, and would ask consent for an API's scope as if it were for
 * userinfo. And a device is never connected by what was allowed before: whoever was led to type in another's code
 * (RFC 8628, section 5.4) sees at least once what for.
 */
export function createInteractionPolicy(): interactionPolicy.DefaultPolicy {
  const policy = interactionPolicy.base();
  const login = policy.get('login');
  login?.checks.add(accountAvailable());
  login?.checks.add(acrReachable());
  const consent = policy.get('consent');
  consent?.checks.remove('op_scopes_missing');
  consent?.checks.add(openidScopesGranted());
  consent?.checks.add(deviceAllowed());
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

/** An essential `acr` that can't be had is a failed authentication (OpenID Connect Core 1.0, section 5.5.1.1). */
function acrReachable(): interactionPolicy.Check {
  return new Check('acr_unreachable', 'the requested acr can not be reached', ({ oidc }) => {
    const acr = oidc.claims.id_token?.acr;
    if (!acr?.essential) return false;
    const accepted = acr.values ?? (acr.value === undefined ? undefined : [acr.value]);
    if (!Array.isArray(accepted) || accepted.includes(ACR_PASSWORD)) return false;
    throw new errors.UnmetAuthenticationRequirements('none of the requested acr values can be reached');
  });
}

function deviceAllowed(): interactionPolicy.Check {
  return new Check(
    'device_prompt',
    'devices require End-User interaction',
    'interaction_required',
    ({ oidc }) => oidc.deviceCode !== undefined && oidc.result?.consent === undefined,
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
