import * as openid from 'openid-client';
import { clientId, issuer } from './settings.js';

/** @returns the issuer's endpoints and rules, out of its discovery document */
export function findIssuer() {
  // http is for an issuer on this machine alone: the settings have no other.
  const execute = issuer.protocol === 'http:' ? [openid.allowInsecureRequests] : [];
  return openid.discovery(issuer, clientId, undefined, openid.None(), { execute });
}
