import { isIP } from 'node:net';
import proxyAddr from 'proxy-addr';
import { z } from 'zod';

const addressRange = z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()]);

/** Whether it is an address or a CIDR range, IPv4 or IPv6. */
export function isAddressRange(value: string): boolean {
  if (!addressRange.safeParse(value).success) return false;
  try {
    proxyAddr.compile([value]);
    return true;
  } catch {
    return false;
  }
}

const compiled = new WeakMap<readonly string[], (address: string) => boolean>();

/**
 * Whether an address lies in one of the ranges. An IPv4 address that is written as IPv6 (`::ffff:192.0.2.1`) is the IPv4
 * address; what is no address lies in none.
 *
 * @param ranges an array that does not change: what is made of it is kept
 */
export function isWithin(ranges: readonly string[], address: string): boolean {
  let matches = compiled.get(ranges);
  if (matches === undefined) {
    const trusts = proxyAddr.compile([...ranges]);
    matches = (candidate) => isIP(candidate) !== 0 && trusts(candidate, 0);
    compiled.set(ranges, matches);
  }
  return matches(address);
}
