import { isIPv6 } from 'node:net';

/**
 * What counts as one address: an IPv4 address, or the /64 of an IPv6 address, since that is the least that a subscriber is
 * given (RFC 6177) and they may use all of it. An IPv4 address written as IPv6 (`::ffff:192.0.2.1`) is the IPv4 address.
 */
export function toClientNetwork(address: string): string {
  const groups = toGroups(address);
  if (groups === undefined) return address;
  if (isMappedIPv4(groups)) {
    return [groups[6], groups[7]].flatMap((group = 0) => [group >> 8, group & 0xff]).join('.');
  }
  return `${toPrefix(groups, 4)}::/64`;
}

/**
 * The /48 of an IPv6 address, the most that one site is commonly given (RFC 6177): 65,536 of what `toClientNetwork` tells
 * apart. @returns undefined for an IPv4 address, however it is written
 */
export function toClientSite(address: string): string | undefined {
  const groups = toGroups(address);
  return groups === undefined || isMappedIPv4(groups) ? undefined : `${toPrefix(groups, 3)}::/48`;
}

function isMappedIPv4(groups: number[]): boolean {
  return groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
}

function toPrefix(groups: number[], count: number): string {
  return groups
    .slice(0, count)
    .map((group) => group.toString(16))
    .join(':');
}

/** The eight groups of an IPv6 address, undefined for any other; the URL parser rewrites an IPv4 address at its end. */
function toGroups(address: string): number[] | undefined {
  const [bare = ''] = address.split('%');
  if (!isIPv6(bare)) return undefined;
  const [head = '', tail] = new URL(`http://[${bare}]`).hostname.slice(1, -1).split('::');
  const parsed = (part: string) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)));
  const before = parsed(head);
  const after = parsed(tail ?? '');
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}
