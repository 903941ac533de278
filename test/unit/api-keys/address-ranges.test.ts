import { describe, expect, test } from '@jest/globals';
import { isAddressRange, isWithin } from '../../../src/api-keys/address-ranges.ts';

describe('what may stand in an allow-list', () => {
  test.each(['192.0.2.1', '192.0.2.0/24', '0.0.0.0/0', '2001:db8::1', '2001:db8::/32', '::/0'])('%s may', (range) => {
    expect(isAddressRange(range)).toBe(true);
  });

  test.each([
    '',
    'loopback',
    '192.0.2.0/33',
    '192.0.2',
    '192.0.2.0/255.255.255.0',
    'example.com',
    '2001:db8::/129',
    ' 192.0.2.1',
  ])('"%s" may not', (range) => {
    expect(isAddressRange(range)).toBe(false);
  });
});

describe('an address', () => {
  test.each([
    ['192.0.2.7', ['192.0.2.0/24'], true],
    ['192.0.3.7', ['192.0.2.0/24'], false],
    ['192.0.3.7', ['192.0.2.0/24', '192.0.3.7'], true],
    ['::ffff:192.0.2.7', ['192.0.2.0/24'], true],
    ['2001:db8:0:1::5', ['2001:db8::/48'], true],
    ['2001:db8:1::5', ['2001:db8::/48'], false],
    ['2001:db8::5', ['192.0.2.0/24'], false],
    ['192.0.2.7', ['::ffff:192.0.2.0/120'], true],
    ['198.51.100.1', ['0.0.0.0/0'], true],
    ['2001:db8::5', ['0.0.0.0/0'], false],
    ['2001:db8::5', ['::/0'], true],
    ['fe80::1%eth0', ['fe80::/10'], true],
    ['not an address', ['0.0.0.0/0', '::/0'], false],
    ['', ['0.0.0.0/0'], false],
  ])('%s in %j: %s', (address, ranges, isIn) => {
    expect(isWithin(ranges, address)).toBe(isIn);
  });
});
