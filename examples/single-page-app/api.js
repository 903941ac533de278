import cors from 'cors';
import express from 'express';
import * as oauth from 'oauth4webapi';
import { apiScope, apiUrl, audience, issuer, portOr, required, usesDpop } from './settings.js';

// http is for an issuer on this machine alone: the settings have no other.
const options = { [oauth.allowInsecureRequests]: issuer.startsWith('http:') };
const discovered = await oauth.discoveryRequest(new URL(issuer), options);
const server = await oauth.processDiscoveryResponse(new URL(issuer), discovered);
/** What oauth4webapi says where the issuer's keys can't be had: that is no verdict on a token. */
const KEYS_AWAY = new Set([oauth.RESPONSE_IS_NOT_CONFORM, oauth.RESPONSE_IS_NOT_JSON]);

/** Lets requests pass that bear a token for this API (RFC 9068) with its scope, and a proof where it is bound (RFC 9449). */
async function requireToken(request, response, next) {
  const { authorization, dpop } = request.headers;
  const scheme = usesDpop ? 'DPoP' : 'Bearer';
  const refuse = (status, error, more = '') =>
    response.set('WWW-Authenticate', `${scheme} error="${error}"${more}`).status(status).json({ error });
  if (authorization === undefined) return response.set('WWW-Authenticate', scheme).status(401).end();
  const headers = dpop === undefined ? { authorization } : { authorization, dpop };
  let claims;
  try {
    // The address that the page has called, whatever stands between: a proof is for one address.
    const asCalled = new Request(new URL(request.originalUrl, apiUrl), { method: request.method, headers });
    claims = await oauth.validateJwtAccessToken(server, asCalled, audience, {
      ...options,
      requireDPoP: usesDpop,
      signingAlgorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'],
      [oauth.clockTolerance]: 5,
    });
  } catch (error) {
    const isVerdict = error instanceof oauth.OperationProcessingError && !KEYS_AWAY.has(error.code);
    if (!isVerdict && !(error instanceof oauth.UnsupportedOperationError)) throw error;
    return refuse(401, 'invalid_token');
  }
  if (!(claims.scope ?? '').split(' ').includes(apiScope)) {
    return refuse(403, 'insufficient_scope', `, scope="${apiScope}"`);
  }
  request.caller = claims;
  next();
}

const app = express();
app.disable('x-powered-by');
app.use(
  cors({
    // Other pages have no business here; without cookies they could do nothing either.
    origin: required('PAGE_ORIGIN').split(','),
    methods: ['GET'],
    allowedHeaders: ['Authorization', 'DPoP'],
    exposedHeaders: ['WWW-Authenticate'],
    maxAge: 600,
  }),
);

app.get('/profile', requireToken, (request, response) => {
  const { sub, client_id, scope } = request.caller;
  response.set('Cache-Control', 'no-store').json({ sub, client_id, scope });
});

app.use((error, _request, response, _next) => {
  console.error('not answered:', error.message);
  response.status(503).set('Retry-After', '5').json({ error: 'temporarily_unavailable' });
});

const port = portOr(4001);
app.listen(port, () => console.log(`API on http://localhost:${port}`));
