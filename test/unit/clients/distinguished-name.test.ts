import { describe, expect, test } from '@jest/globals';
import { parseDistinguishedName } from '../../../src/clients/distinguished-name.ts';

const CN = '2.5.4.3';
const O = '2.5.4.10';
const OU = '2.5.4.11';
const DC = '0.9.2342.19200300.100.1.25';

describe('a distinguished name is read as RFC 4514 has it', () => {
  test.each([
    ['UID=jsmith,DC=example,DC=net', [[['0.9.2342.19200300.100.1.1', 'jsmith']], [[DC, 'example']], [[DC, 'net']]]],
    [
      'OU=Sales+CN=J.  Smith,DC=net',
      [
        [
          [OU, 'Sales'],
          [CN, 'J.  Smith'],
        ],
        [[DC, 'net']],
      ],
    ],
    ['CN=James \\"Jim\\" Smith\\, III,DC=net', [[[CN, 'James "Jim" Smith, III']], [[DC, 'net']]]],
    ['CN=Before\\0dAfter,DC=net', [[[CN, 'Before\rAfter']], [[DC, 'net']]]],
    ['cn=Lu\\C4\\8Di\\C4\\87', [[[CN, 'Lučić']]]],
    ['CN=Lučić 🔑', [[[CN, 'Lučić 🔑']]]],
    ['CN=\\ a\\ ,O=\\#b', [[[CN, ' a ']], [[O, '#b']]]],
    ['CN=a=b c', [[[CN, 'a=b c']]]],
    ['CN=', [[[CN, '']]]],
    ['2.5.4.3=a', [[[CN, 'a']]]],
  ])('%s', (text, expected) => {
    const read = parseDistinguishedName(text)?.map((set) =>
      set.map((it) => [it.type, 'text' in it ? it.text : it.der]),
    );
    expect(read).toEqual(expected);
  });

  test('a value in hexadecimal is taken as DER', () => {
    expect(parseDistinguishedName('1.3.6.1.4.1.1466.0=#04024869')).toEqual([
      [{ type: '1.3.6.1.4.1.1466.0', der: Buffer.from('04024869', 'hex') }],
    ]);
  });
});

test.each([
  [''],
  ['CN'],
  ['a client'],
  ['CN=a,'],
  ['CN=a, O=b'],
  ['CN = a'],
  [' CN=a'],
  ['CN= a'],
  ['CN=a '],
  ['CN=#zz'],
  ['CN=#0'],
  ['CN=a;O=b'],
  ['CN="a"'],
  ['CN=a\\'],
  ['CN=a\\q'],
  ['CN=\\C4'],
  ['CN=a\u0000b'],
  ['XY=a'],
  ['2.05.4=a'],
  ['/CN=a/O=b'],
])('%j is no distinguished name', (text) => {
  expect(parseDistinguishedName(text)).toBeUndefined();
});
