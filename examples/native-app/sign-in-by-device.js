import * as openid from 'openid-client';
import { scope } from './settings.js';

/**
 * Signs a person in where there is no browser (RFC 8628): they type a code in on another device, their phone for example,
 * while this program asks every few seconds whether they have.
 *
 * @returns the tokens
 * @throws where the person said no, or let the code expire
 */
export async function signInByDevice(issuer) {
  const codes = await openid.initiateDeviceAuthorization(issuer, { scope });
  console.log(`On any device, open\n\n  ${codes.verification_uri}\n\nand type in this code:\n\n  ${codes.user_code}\n`);
  // Asks as often as the issuer allows, and more slowly when it is told to.
  return openid.pollDeviceAuthorizationGrant(issuer, codes);
}
