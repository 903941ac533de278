import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createVaultKeyWrapper } from '../../../src/keys/index.ts';
import type { VaultSettings } from '../../../src/keys/vault-transit.ts';
import { openTestVault, type TestVault } from '../../harness/vault.ts';
import type { VaultStandIn } from '../../harness/vault-stand-in.ts';

const CONTEXT = 'signing-key a 1';
const SOON = { timeoutMs: 100, pausesMs: [1, 1] };
const QUICK = { patient: SOON, hasty: { timeoutMs: 50, pausesMs: [] }, restMs: 60_000 };

let vault: TestVault;
/** Has the faults that it is told to have, which a real one has not. */
let faulty: TestVault;
let standIn: VaultStandIn;
beforeAll(async () => {
  vault = await openTestVault();
  faulty = await openTestVault({ isStandIn: true });
  if (faulty.standIn === undefined) throw new Error('this is no stand-in');
  standIn = faulty.standIn;
});
afterAll(() => Promise.all([vault.close(), faulty.close()]));

/** @throws where it does not fail */
async function faultOf(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  return promise.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: Error) => error,
  );
}

describe('a key of Vault', () => {
  test.each(['aes256-gcm96', 'chacha20-poly1305'] as const)(
    'of type %s gives a data key back for what it was wrapped for, and for nothing else',
    async (type) => {
      const settings = await vault.createKey(type);
      const wrapper = createVaultKeyWrapper(settings);
      const dataKey = randomBytes(32);
      const wrapped = await wrapper.wrap(dataKey, CONTEXT);
      expect(wrapped.keyEncryptionKeyId).toBe(`vault:transit/${settings.key}`);
      expect(wrapped.wrapped).toMatch(/^vault:v1:/);
      expect(wrapped.wrapped).not.toContain(dataKey.toString('base64').slice(0, 20));
      expect(await wrapper.unwrap(wrapped, CONTEXT)).toEqual(dataKey);
      expect((await faultOf(wrapper.unwrap(wrapped, 'signing-key b 1'))).name).toBe('UnsealError');
    },
  );

  test('opens nothing that was altered or cut short', async () => {
    const wrapper = createVaultKeyWrapper(await vault.createKey());
    const { keyEncryptionKeyId, wrapped } = await wrapper.wrap(randomBytes(32), CONTEXT);
    const [, version, text = ''] = wrapped.split(':');
    const flipped = Buffer.from(text, 'base64');
    flipped[20] = (flipped[20] ?? 0) ^ 1;
    const altered = [
      `vault:${version}:${flipped.toString('base64')}`,
      `vault:${version}:AAAA`,
      `vault:v9:${text}`,
      `vault:${version}:${text.slice(0, -1)}!`,
      text,
    ];
    for (const value of altered) {
      const { name } = await faultOf(wrapper.unwrap({ keyEncryptionKeyId, wrapped: value }, CONTEXT));
      expect({ value, name }).toEqual({ value, name: 'UnsealError' });
    }
  });

  test('opens what its earlier versions have wrapped, and wraps with the newest', async () => {
    const settings = await vault.createKey();
    const wrapper = createVaultKeyWrapper(settings);
    const dataKey = randomBytes(32);
    const before = await wrapper.wrap(dataKey, CONTEXT);
    await vault.rotateKey(settings.key);
    expect(await wrapper.unwrap(before, CONTEXT)).toEqual(dataKey);
    expect((await wrapper.wrap(dataKey, CONTEXT)).wrapped).toMatch(/^vault:v2:/);
  });

  test('is the one that was configured, whatever the database names', async () => {
    const [settings, other] = [await vault.createKey(), await vault.createKey()];
    const wrapped = await createVaultKeyWrapper(other).wrap(randomBytes(32), CONTEXT);
    expect(await faultOf(createVaultKeyWrapper(settings).unwrap(wrapped, CONTEXT))).toMatchObject({
      code: 'configuration',
      message: expect.stringMatching(/^VAULT_TRANSIT_KEY does not fit this database: [^\n]+$/),
    });
  });
});

describe('what Vault refuses is a fault of the configuration, in one line that names the setting:', () => {
  async function lineOf(settings: VaultSettings, operation: 'wrap' | 'unwrap' = 'wrap'): Promise<string> {
    const wrapper = createVaultKeyWrapper(settings);
    const wrapped = { keyEncryptionKeyId: `vault:${settings.mount}/${settings.key}`, wrapped: 'vault:v1:AAAA' };
    const fault = await faultOf(
      operation === 'wrap' ? wrapper.wrap(randomBytes(32), CONTEXT) : wrapper.unwrap(wrapped, CONTEXT),
    );
    expect(fault.code).toBe('configuration');
    expect(fault.message).not.toContain('\n');
    expect(inspect(fault, { depth: 9 }) + JSON.stringify(fault)).not.toContain(settings.token);
    return fault.message;
  }

  test('a token that has ended', async () => {
    const settings = await vault.createKey();
    await vault.revokeToken(settings.token);
    expect(await lineOf(settings)).toMatch(/^VAULT_TOKEN may not encrypt with/);
    expect(await lineOf(settings, 'unwrap')).toMatch(/^VAULT_TOKEN may not decrypt with/);
  });

  test('a token for another key', async () => {
    const [settings, other] = [await vault.createKey(), await vault.createKey()];
    expect(await lineOf({ ...settings, token: other.token })).toMatch(/^VAULT_TOKEN may not/);
  });

  test('a key that was deleted, which no use brings back', async () => {
    const settings = await vault.createKey();
    await vault.deleteKey(settings.key);
    expect(await lineOf(settings, 'unwrap')).toMatch(/^VAULT_TRANSIT_KEY: Vault has no key/);
    expect(await lineOf(settings)).toMatch(/^VAULT_TOKEN may not encrypt with/);
    expect(await lineOf(settings, 'unwrap')).toMatch(/^VAULT_TRANSIT_KEY: Vault has no key/);
  });

  test('a key that can not bind what it wraps to its context', async () => {
    expect(await lineOf(await vault.createKey('rsa-2048'))).toMatch(/^VAULT_TRANSIT_KEY: Vault refuses to encrypt/);
  });

  test('an engine that is not there', async () => {
    const settings = { ...(await vault.createKey()), token: vault.rootToken, mount: 'elsewhere' };
    expect(await lineOf(settings)).toMatch(/^VAULT_TRANSIT_MOUNT: Vault at .* has no transit engine at elsewhere/);
  });

  test('an address where something else answers', async () => {
    const other = createServer((_request, response) => response.end('<html>'));
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const address = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
    expect(await lineOf({ ...(await vault.createKey()), address })).toMatch(/^VAULT_ADDR wants the URL of Vault/);
    other.closeAllConnections();
    await new Promise((resolve) => other.close(resolve));
  });

  test('a token that can not be sent', async () => {
    const settings = { ...(await vault.createKey()), token: 'hvs.secret\nX-Other: header' };
    const fault = await faultOf((async () => createVaultKeyWrapper(settings))());
    expect(fault).toMatchObject({ code: 'configuration', message: expect.stringMatching(/^VAULT_TOKEN/) });
    expect(inspect(fault, { depth: 9 })).not.toContain('hvs.secret');
  });
});

describe('Vault that gives no answer', () => {
  test('at all is told, with how it failed, and the token is in no part of it', async () => {
    const settings = { ...(await vault.createKey()), address: 'http://127.0.0.1:1' };
    const fault = await faultOf(createVaultKeyWrapper(settings, QUICK).wrap(randomBytes(32), CONTEXT));
    expect(fault).toMatchObject({
      code: 'temporarily_unavailable',
      message: expect.stringMatching(/^Vault at http:\/\/127\.0\.0\.1:1 does not encrypt \([^)\n]+\)[^\n]*$/),
    });
    expect(inspect(fault, { depth: 9 })).not.toContain(settings.token);
  });

  test('for a moment is asked again', async () => {
    const wrapper = createVaultKeyWrapper(await faulty.createKey(), QUICK);
    standIn.fail(500, 429);
    const wrapped = await wrapper.wrap(randomBytes(32), CONTEXT);
    standIn.fail('silence', 412);
    await wrapper.unwrap(wrapped, CONTEXT);
    standIn.fail(502, 502, 502);
    const asked = standIn.requests.length;
    expect((await faultOf(wrapper.wrap(randomBytes(32), CONTEXT))).code).toBe('temporarily_unavailable');
    expect(standIn.requests.length - asked).toBe(3);
  });

  test('is not waited for by what runs: one short attempt, and then none for a while', async () => {
    const settings = await faulty.createKey();
    const wrapper = createVaultKeyWrapper(settings, QUICK);
    const wrapped = await wrapper.wrap(randomBytes(32), CONTEXT);
    await wrapper.unwrap(wrapped, CONTEXT);
    const asked = standIn.requests.length;
    standIn.fail('silence', 'silence', 'silence');
    const faults = [
      await faultOf(wrapper.unwrap(wrapped, CONTEXT)),
      await faultOf(wrapper.unwrap(wrapped, CONTEXT)),
      await faultOf(wrapper.unwrap(wrapped, CONTEXT)),
    ];
    expect(faults.map(({ code }) => code)).toEqual(Array(3).fill('temporarily_unavailable'));
    expect(standIn.requests.length - asked).toBe(1);
    standIn.fail();
    // Who makes a key has the patience, and is no part of what others wait for.
    await wrapper.wrap(randomBytes(32), CONTEXT);

    const restless = createVaultKeyWrapper(settings, { ...QUICK, restMs: 0 });
    await restless.unwrap(wrapped, CONTEXT);
    standIn.fail('silence');
    await faultOf(restless.unwrap(wrapped, CONTEXT));
    await restless.unwrap(wrapped, CONTEXT);
  });

  test('because it is sealed says so', async () => {
    const wrapper = createVaultKeyWrapper(await faulty.createKey(), QUICK);
    standIn.setSealed(true);
    const fault = await faultOf(wrapper.wrap(randomBytes(32), CONTEXT));
    standIn.setSealed(false);
    expect(fault).toMatchObject({
      code: 'temporarily_unavailable',
      message: expect.stringContaining('(Vault is sealed)'),
    });
  });
});

describe('a request to Vault', () => {
  test('bears token, namespace and the header that agents insist on, and shows the context as base64', async () => {
    const settings = { ...(await faulty.createKey()), namespace: 'team/a' };
    await createVaultKeyWrapper(settings).wrap(randomBytes(32), CONTEXT);
    const { headers, body, path } = standIn.requests.at(-1) ?? { headers: {}, body: '{}', path: '' };
    expect(path).toBe(`transit/encrypt/${settings.key}`);
    expect(headers).toMatchObject({
      'x-vault-token': settings.token,
      'x-vault-namespace': 'team/a',
      'x-vault-request': 'true',
    });
    const { associated_data } = JSON.parse(body);
    expect(Buffer.from(associated_data, 'base64').toString()).toBe(CONTEXT);
  });

  test('follows no redirect with its token', async () => {
    const other = await openTestVault({ isStandIn: true });
    const target = await openTestVault({ isStandIn: true });
    const settings = await other.createKey();
    other.standIn?.redirectTo(target.address);
    const fault = await faultOf(createVaultKeyWrapper(settings, QUICK).wrap(randomBytes(32), CONTEXT));
    expect(fault).toMatchObject({ code: 'configuration', message: expect.stringContaining('redirects') });
    expect(target.standIn?.requests).toEqual([]);
    await other.close();
    await target.close();
  });
});
