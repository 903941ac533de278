import * as openid from 'openid-client';
import { issuer } from './settings.js';

/** What the issuer says of itself, for a client with a secret or for a service that only verifies tokens. */
export function findIssuer(clientId, secret) {
  const authentication = secret === undefined ? openid.None() : openid.ClientSecretBasic(secret);
  return openid.discovery(issuer, clientId, undefined, authentication, {
    // http is for an issuer on this machine alone: the settings have no other.
    execute: issuer.protocol === 'http:' ? [openid.allowInsecureRequests] : [],
    timeout: 5,
  });
}
