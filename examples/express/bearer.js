const BEARER = /^Bearer +([A-Za-z0-9\-._~+/]+=*) *$/i;

/**
 * Decides whether a request may pass (RFC 6750, sections 2.1 and 3). The token is taken from the Authorization header alone:
 * in a query it would end up in logs and histories.
 *
 * @param request of node:http
 * @param readToken as `createTokenReader` makes it
 * @param wanted `scope` that the token must have, and `orRole`, which does as well; empty: any good token will do
 * @param metadataUrl where this API is described (RFC 9728): each challenge names it, where there is one
 * @param address that the request comes from, as the framework knows it
 * @returns `{ claims }` of the token, or how the request is refused: `{ status, error?, headers }`
 */
export async function authorize(request, readToken, { scope, orRole }, { metadataUrl, address }) {
  const refuse = (status, error, wanted) => refusal(status, { error, scope: wanted, resource_metadata: metadataUrl });
  const headers = request.headersDistinct.authorization ?? [];
  if (headers.length > 1) return refuse(400, 'invalid_request');
  const [header = ''] = headers;
  // No error where no token came: whoever asks may not know yet that one is wanted.
  if (!/^Bearer\b/i.test(header)) return refuse(401);
  const token = BEARER.exec(header)?.[1];
  let claims;
  try {
    claims = token === undefined ? undefined : await readToken(token, address);
  } catch (error) {
    // That says nothing about the token.
    console.error('the issuer could not be asked:', error);
    return { status: 503, error: 'temporarily_unavailable', headers: { 'Retry-After': '5' } };
  }
  if (claims === undefined) return refuse(401, 'invalid_token');
  const hasScope = scope === undefined || (claims.scope ?? '').split(' ').includes(scope);
  if (!hasScope && !(claims.roles ?? []).includes(orRole)) {
    return refuse(403, 'insufficient_scope', scope);
  }
  return { claims };
}

function refusal(status, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined);
  const challenge = `Bearer ${given.map(([name, value]) => `${name}="${value}"`).join(', ')}`.trim();
  return { status, error: parameters.error, headers: { 'WWW-Authenticate': challenge } };
}
