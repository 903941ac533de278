const WELL_KNOWN = '/.well-known/oauth-protected-resource';
const HOSTS_OF_THIS_MACHINE = new Set(['localhost', '127.0.0.1', '[::1]']);

/**
 * What a client may know of this API before it has a token: above all where to get one (RFC 9728). It is found by the API's
 * identifier, which has to be a URL for that: for a URN nobody would know where to look.
 *
 * @returns `{ url, path, document }`: where it is found, where this server answers with it, and what; `undefined` for a URN
 */
export function describeResource({ issuer, audience }) {
  const resource = URL.canParse(audience) ? new URL(audience) : undefined;
  const isOnThisMachine = resource?.protocol === 'http:' && HOSTS_OF_THIS_MACHINE.has(resource.hostname);
  if (resource?.protocol !== 'https:' && !isOnThisMachine) return undefined;
  // Section 3.1: before the path of the resource, where that has one.
  const path = `${WELL_KNOWN}${resource.pathname === '/' ? '' : resource.pathname}`;
  const document = { resource: audience, authorization_servers: [issuer], bearer_methods_supported: ['header'] };
  return { url: `${resource.origin}${path}${resource.search}`, path, document };
}
