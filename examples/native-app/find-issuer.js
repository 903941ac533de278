import * as openid from 'openid-client';
import { clientId, issuer } from './settings.js';

/** @returns the issuer's endpoints and rules, out of its discovery document */
export function findIssuer() {
  // http is for an issuer on this machine alone; everything else wants https.
  const execute = issuer.protocol === 'http:' ? [openid.allowInsecureRequests] : [];
  return openid.discovery(issuer, clientId, undefined, openid.None(), { execute });
}
