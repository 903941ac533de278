import { lookup as lookUpHost } from 'node:dns/promises';
import { type IncomingMessage, request as requestByHttp } from 'node:http';
import { request as requestByHttps } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { Readable } from 'node:stream';
import ipaddr from 'ipaddr.js';

/** RFC 4291, section 2.4: what of IPv6 is handed out; all else is special in one way or another. */
const [GLOBAL_UNICAST, GLOBAL_UNICAST_BITS] = ipaddr.parseCIDR('2000::/3');

/** For addresses that clients register (`jwks_uri`, `sector_identifier_uri`): whoever registers one makes the server call it. */
export type OutboundPolicy = Readonly<{
  /** Plain http, for a developer's own machine. */
  allowsHttp: boolean;
  /** Addresses or CIDR ranges that are reached although they are not public. */
  privateRanges: readonly string[];
}>;

/** All addresses of a host, as the system finds them. */
type LookUp = (host: string) => Promise<{ address: string; family: number }[]>;
const lookUpByHost: LookUp = (host) => lookUpHost(host, { all: true });

/** Of a key set or a list of redirect URIs; fifty keys of 4,096 bits have 40 KiB. */
export const MAX_OUTBOUND_BYTES = 65_536;
/** The library's own limit, for what it gives no signal with. */
const TIMEOUT_MS = 2_500;

/**
 * A `fetch` that can't be turned against what this server alone can reach (SSRF; OWASP ASVS 5.0, 13.2.4): it goes to public
 * addresses alone, by the very address that was checked, so that a name that changes its answer in between leads nowhere
 * else; it follows no redirect, which could lead anywhere.
 *
 * @param lookUp asked once for each connection
 * @returns rejects where the address is refused, before anything is connected, and where `init.signal` ends it
 */
export function createOutboundFetch(policy: OutboundPolicy, lookUp: LookUp = lookUpByHost) {
  const mayReach = addressCheck(policy.privateRanges);
  const lookup = checkedLookup(mayReach, lookUp);

  return async function outboundFetch(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    const url = new URL(input instanceof Request ? input.url : input);
    const isHttp = url.protocol === 'http:' && policy.allowsHttp;
    if (url.protocol !== 'https:' && !isHttp) throw new Error(`${url.protocol} is not fetched from`);
    // A literal address is looked up by nobody.
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
    if (isIP(host) !== 0 && !mayReach(host)) throw refusedAddress(host);
    const send = isHttp ? requestByHttp : requestByHttps;
    return new Promise((resolve, reject) => {
      const request = send(url, {
        method: init.method ?? 'GET',
        headers: Object.fromEntries(new Headers(init.headers)),
        signal: init.signal ?? AbortSignal.timeout(TIMEOUT_MS),
        // No connection is kept, so that each is to an address just checked.
        agent: false,
        lookup,
      });
      request.once('error', reject);
      // Node closes what is switched to another protocol (101) and says nothing else, nor does the signal then.
      request.once('close', () => reject(new Error('the connection ended without an answer')));
      request.once('response', (response) => {
        try {
          resolve(toResponse(response));
        } catch (error) {
          response.destroy();
          reject(error);
        }
      });
      request.end(typeof init.body === 'string' ? init.body : undefined);
    });
  };
}

/** @throws for a status or a header that a `Response` can't have: whoever answers so is no server of keys */
function toResponse(message: IncomingMessage): Response {
  const headers = Object.entries(message.headersDistinct).flatMap(([name, values = []]) =>
    values.map((value): [string, string] => [name, value]),
  );
  const body = Readable.toWeb(message) as ReadableStream;
  return new Response(body, { status: message.statusCode ?? 0, headers: new Headers(headers) });
}

/** Whether an address is public (IANA's registries of special-purpose addresses, RFC 6890) or named by the operator. */
function addressCheck(privateRanges: readonly string[]): (address: string) => boolean {
  const ranges = privateRanges.map((range) =>
    range.includes('/') ? ipaddr.parseCIDR(range) : ([ipaddr.parse(range), isIP(range) === 4 ? 32 : 128] as const),
  );
  return (address) => {
    if (!ipaddr.isValid(address)) return false;
    // What is IPv4 is judged as IPv4, however it is written.
    const parsed = ipaddr.process(address);
    const isGlobal = parsed.kind() === 'ipv4' || parsed.match(GLOBAL_UNICAST, GLOBAL_UNICAST_BITS);
    if (isGlobal && parsed.range() === 'unicast') return true;
    return ranges.some(([range, bits]) => parsed.kind() === range.kind() && parsed.match(range, bits));
  };
}

/** Looks a host up for a connection, which gets addresses that may be reached, and none where there is another among them. */
function checkedLookup(mayReach: (address: string) => boolean, lookUp: LookUp): LookupFunction {
  // A resolver may hang for longer than anybody waits, in a thread of a few: one host keeps one of them at the most.
  const pending = new Map<string, ReturnType<LookUp>>();
  function find(host: string) {
    const found = pending.get(host) ?? lookUp(host).finally(() => pending.delete(host));
    pending.set(host, found);
    return found;
  }
  return (host, options, callback) => {
    find(host).then(
      (addresses) => {
        const refused = addresses.find(({ address }) => !mayReach(address));
        const [first] = addresses;
        if (refused !== undefined) callback(refusedAddress(`${host}, at ${refused.address}`), '');
        else if (options.all) callback(null, addresses);
        else callback(null, first?.address ?? '', first?.family);
      },
      (error: NodeJS.ErrnoException) => callback(error, ''),
    );
  };
}

function refusedAddress(what: string): Error {
  return new Error(`${what} is not a public address (OUTBOUND_PRIVATE_RANGES)`);
}
