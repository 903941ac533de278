import type { Configuration } from 'oidc-provider';

type Features = NonNullable<Configuration['features']>;

/**
 * How an authorization request may come, and in which form its answer goes: pushed before (RFC 9126), signed (RFC 9101, by
 * value: `request_uri` names pushed requests alone, because fetching others' makes the server call what a browser names),
 * and answered in a signed response (JARM).
 */
export function authorizationFeatures(offers: {
  requiresPushedRequests: boolean;
  requiresSignedRequests: boolean;
}): Pick<Features, 'pushedAuthorizationRequests' | 'requestObjects' | 'jwtResponseModes'> {
  return {
    pushedAuthorizationRequests: {
      enabled: true,
      requirePushedAuthorizationRequests: offers.requiresPushedRequests,
      // It would let whoever has a client's secret choose where codes go.
      allowUnregisteredRedirectUris: false,
    },
    requestObjects: { enabled: true, requireSignedRequestObject: offers.requiresSignedRequests },
    jwtResponseModes: { enabled: true },
  };
}
