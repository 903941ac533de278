import { BlockList, isIP, isIPv6 } from 'node:net';
import { z } from 'zod';

const addressRange = z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()]);

/** Whether it is an address or a CIDR range, IPv4 or IPv6. */
export function isAddressRange(value: string): boolean {
  return addressRange.safeParse(value).success;
}

const compiled = new WeakMap<readonly string[], BlockList>();

/**
 * Whether an address lies in one of the ranges. An IPv4 address that is written as IPv6 (`::ffff:192.0.2.1`) is the IPv4
 * address; what is no address lies in none.
 *
 * @param ranges an array that does not change: what is made of it is kept
 */
export function isWithin(ranges: readonly string[], address: string): boolean {
  if (isIP(address) === 0) return false;
  let list = compiled.get(ranges);
  if (list === undefined) {
    list = toList(ranges);
    compiled.set(ranges, list);
  }
  return list.check(address, familyOf(address));
}

/** Node's class is named after its other use. */
function toList(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = '', prefix] = range.split('/');
    if (prefix === undefined) list.addAddress(address, familyOf(address));
    else list.addSubnet(address, Number(prefix), familyOf(address));
  }
  return list;
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv6(address) ? 'ipv6' : 'ipv4';
}
