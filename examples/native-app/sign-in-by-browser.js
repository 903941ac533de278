import { once } from 'node:events';
import { createServer } from 'node:http';
import * as openid from 'openid-client';
import { scope } from './settings.js';

/**
 * Signs a person in by the browser of this machine (RFC 8252): the issuer sends it back to a port that this program listens
 * on for the moment, and that no other machine reaches.
 *
 * @returns the tokens
 * @throws where the person or the issuer said no
 */
export async function signInByBrowser(issuer) {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // Whatever port was free: the registered address names none.
  const redirectUri = `http://127.0.0.1:${server.address().port}/callback`;
  try {
    const pkceCodeVerifier = openid.randomPKCECodeVerifier();
    const expectedState = openid.randomState();
    const expectedNonce = openid.randomNonce();
    const address = openid.buildAuthorizationUrl(issuer, {
      redirect_uri: redirectUri,
      scope,
      prompt: 'consent',
      code_challenge: await openid.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
      state: expectedState,
      nonce: expectedNonce,
    });
    console.log(`Open this address in your browser:\n\n  ${address.href}\n`);
    const { callback, answer } = await waitForCallback(server, redirectUri, expectedState);
    try {
      const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true };
      const tokens = await openid.authorizationCodeGrant(issuer, callback, checks);
      answer('You are signed in. You can close this page and go back to the command line.');
      return tokens;
    } catch (error) {
      answer('You are not signed in. The command line says why. You can close this page.');
      throw error;
    }
  } finally {
    server.close();
    server.closeIdleConnections();
  }
}

/** The first request that can be the answer to ours; other programs of this machine can reach the port, too. */
function waitForCallback(server, redirectUri, expectedState) {
  let isAnswered = false;
  return new Promise((resolve) => {
    server.on('request', (request, response) => {
      // `GET //` is a request, too, and no address.
      const callback = URL.canParse(request.url, redirectUri) ? new URL(request.url, redirectUri) : undefined;
      const isOurs = callback?.pathname === '/callback' && callback.searchParams.get('state') === expectedState;
      if (!isOurs || isAnswered) {
        response.writeHead(404).end();
        return;
      }
      isAnswered = true;
      const answer = (text) => response.writeHead(200, { 'content-type': 'text/plain', connection: 'close' }).end(text);
      resolve({ callback, answer });
    });
  });
}
