import type { Middleware } from 'koa';
import proxyAddr from 'proxy-addr';

/** What a proxy may say of the client; from anyone who isn't a trusted proxy it is dropped. */
const FORWARDED_HEADERS = [
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-real-ip',
  'client-cert',
  'client-cert-chain',
  'x-client-cert',
  'x-forwarded-client-cert',
  'x-ssl-client-cert',
  'ssl-client-cert',
];

/** @param trustedProxies CIDR ranges; @returns whether a peer is one of our proxies */
export function trustsPeer(trustedProxies: readonly string[]): (address: string | undefined) => boolean {
  const trusts = proxyAddr.compile([...trustedProxies]);
  return (address) => address !== undefined && trusts(address, 0);
}

/**
 * Gives every request the address that it really came from, and ours. The issuer is the one truth of how people and apps
 * reach this server: neither a `Host` header nor a proxy may put another name into discovery, redirects or forms.
 *
 * Wants `app.proxy = true`, and the same of the provider.
 */
export function ownAddress(options: { issuer: string; trustedProxies: readonly string[] }): Middleware {
  const { host, protocol } = new URL(options.issuer);
  const isTrusted = trustsPeer(options.trustedProxies);
  return (context, next) => {
    const { headers, socket } = context.req;
    // The last address that no proxy of ours vouches for (RFC 7239, section 8.1).
    const address = withoutMapping(proxyAddr(context.req, (peer) => isTrusted(peer)));
    if (!isTrusted(socket.remoteAddress)) for (const name of FORWARDED_HEADERS) delete headers[name];
    headers['x-forwarded-for'] = address;
    headers['x-forwarded-host'] = host;
    headers['x-forwarded-proto'] = protocol.slice(0, -1);
    return next();
  };
}

/** An IPv4 peer of a socket that listens on IPv6 (RFC 4291, section 2.5.5.2) is known by its IPv4 address everywhere. */
function withoutMapping(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}
