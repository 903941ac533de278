import { generateKeyPairSync, type KeyExportOptions, type KeyObject } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { exportJWK, type JWK } from 'jose';
import { readKeyMaterial } from '../../../src/keys/read-key-material.ts';

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const ed25519 = generateKeyPairSync('ed25519');

function pem(key: KeyObject, type: 'pkcs8' | 'pkcs1' | 'sec1' | 'spki'): string {
  return String(key.export({ format: 'pem', type } as KeyExportOptions<'pem'>));
}
const json = async (key: KeyObject, more: JWK = {}) => JSON.stringify({ ...(await exportJWK(key)), ...more });

describe('a private key is read', () => {
  test.each([
    ['PKCS #8 of RSA', pem(rsa.privateKey, 'pkcs8'), 'RS256', rsa],
    ['PKCS #1 of RSA', pem(rsa.privateKey, 'pkcs1'), 'RS256', rsa],
    ['PKCS #8 of P-256', pem(p256.privateKey, 'pkcs8'), 'ES256', p256],
    ['SEC 1 of P-256', pem(p256.privateKey, 'sec1'), 'ES256', p256],
    ['PKCS #8 of Ed25519', pem(ed25519.privateKey, 'pkcs8'), 'EdDSA', ed25519],
  ])('from PEM: %s', async (_, text, algorithm, { privateKey }) => {
    expect(readKeyMaterial(text)).toEqual({ ok: true, algorithm, privateKey: await exportJWK(privateKey) });
  });

  test.each([
    ['RSA', rsa, 'RS256'],
    ['P-256', p256, 'ES256'],
    ['Ed25519', ed25519, 'EdDSA'],
  ])('from a JWK and from a JWKS with one in it: %s', async (_, { privateKey }, algorithm) => {
    const jwk = await json(privateKey, { kid: 'of old', use: 'sig' });
    const expected = { ok: true, algorithm, privateKey: await exportJWK(privateKey) };
    expect(readKeyMaterial(jwk)).toEqual(expected);
    expect(readKeyMaterial(`\n {"keys": [${jwk}]}`)).toEqual(expected);
  });

  test('an RSA key signs with RS256 unless told otherwise, by the key or by who brings it', async () => {
    const named = await json(rsa.privateKey, { alg: 'PS256' });
    expect(readKeyMaterial(named)).toMatchObject({ algorithm: 'PS256' });
    expect(readKeyMaterial(named, 'RS256')).toMatchObject({ algorithm: 'RS256' });
    expect(readKeyMaterial(pem(rsa.privateKey, 'pkcs8'), 'PS256')).toMatchObject({ algorithm: 'PS256' });
  });
});

describe('what is no such key is refused, with the reason', () => {
  const short = generateKeyPairSync('rsa', { modulusLength: 1024 });
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const x25519 = generateKeyPairSync('x25519');
  const pss = generateKeyPairSync('rsa-pss', { modulusLength: 2048 });
  const encrypted = rsa.privateKey.export({
    format: 'pem',
    type: 'pkcs8',
    cipher: 'aes-256-cbc',
    passphrase: 'secret',
  }) as string;
  const legacy = rsa.privateKey.export({
    format: 'pem',
    type: 'pkcs1',
    cipher: 'aes-256-cbc',
    passphrase: 'secret',
  }) as string;

  const bare = rsa.privateKey.export({ format: 'jwk' });
  const cubed = generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 });

  test.each([
    [
      'an RSA key that signs as it was told',
      JSON.stringify({ ...bare, e: 'AQ', d: 'AQ', dp: 'AQ', dq: 'AQ' }),
      /exponent/,
    ],
    ['an RSA key with a small exponent', pem(cubed.privateKey, 'pkcs8'), /exponent is at least 65537/],
    ['an RSA key that is too short', pem(short.privateKey, 'pkcs8'), /at least 2048 bits/],
    ['another curve', pem(p384.privateKey, 'sec1'), /not ec secp384r1/],
    ['a key of another use', pem(x25519.privateKey, 'pkcs8'), /not x25519/],
    ['RSA restricted to PSS', pem(pss.privateKey, 'pkcs8'), /not rsa-pss/],
    ['a public key', pem(rsa.publicKey, 'spki'), /this one is public/],
    ['a key under a password', encrypted, /is encrypted/],
    ['a key under a password, in the old form', legacy, /is encrypted/],
    ['no text', '', /holds no private key/],
    ['another text', 'hello', /holds no private key/],
    ['half a key', pem(rsa.privateKey, 'pkcs8').slice(0, 400), /holds no private key/],
    ['what begins like JSON', '{"kty":', /is not JSON/],
    ['JSON that is no key', '{}', /this one is public|holds no/],
    ['an empty set', '{"keys": []}', /wants one key, not 0/],
    ['a set with nothing in it', '{"keys": [null]}', /holds no key/],
    ['a shared secret', '{"kty":"oct","k":"c2VjcmV0"}', /not a shared secret/],
  ])('%s', (_, text, reason) => {
    expect(readKeyMaterial(text)).toEqual({ ok: false, reason: expect.stringMatching(reason) });
  });

  test('a public JWK, a set of two, a key for encryption', async () => {
    const [mine, other] = [await json(p256.privateKey), await json(ed25519.privateKey)];
    expect(readKeyMaterial(await json(p256.publicKey))).toMatchObject({ reason: expect.stringMatching(/public/) });
    expect(readKeyMaterial(`{"keys": [${mine}, ${other}]}`)).toMatchObject({ reason: 'wants one key, not 2' });
    expect(readKeyMaterial(await json(rsa.privateKey, { use: 'enc' }))).toMatchObject({
      reason: expect.stringMatching(/signatures/),
    });
  });

  test('an algorithm that the key can not sign with', async () => {
    const reason = 'a key of this type signs with ES256, not RS256';
    expect(readKeyMaterial(pem(p256.privateKey, 'sec1'), 'RS256')).toEqual({ ok: false, reason });
    expect(readKeyMaterial(await json(rsa.privateKey, { alg: 'RS512' }))).toMatchObject({
      reason: 'a key of this type signs with RS256 or PS256, not RS512',
    });
  });

  test.each([
    ['P-256', 'ec', { namedCurve: 'P-256' }, ['x', 'y']],
    ['Ed25519', 'ed25519', {}, ['x']],
    ['RSA', 'rsa', { modulusLength: 2048 }, ['n']],
  ] as const)('a JWK whose public part is that of another key: %s', async (_, type, options, members) => {
    const make = () => generateKeyPairSync(type as 'ec', options as { namedCurve: string }).privateKey;
    const [mine, other] = [await exportJWK(make()), await exportJWK(make())];
    const mixed = { ...mine, ...Object.fromEntries(members.map((member) => [member, other[member]])) };
    expect(readKeyMaterial(JSON.stringify(mixed))).toEqual({
      ok: false,
      reason: expect.stringMatching(/different keys|no private key that is understood/),
    });
  });

  test('the reason never quotes what was given', () => {
    const text = '{"kty":"EC","d":"very-secret"';
    expect(JSON.stringify(readKeyMaterial(text))).not.toContain('secret"');
  });
});
