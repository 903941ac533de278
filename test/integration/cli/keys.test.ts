import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { calculateJwkThumbprint, exportJWK } from 'jose';
import { freshFolder } from '../../harness/fresh-folder.ts';
import { openShared } from './command-line.ts';

type Listed = {
  kid: string;
  alg: string;
  state: string;
  next_step: string | null;
  next_step_at: string | null;
  successor_announced_at: string | null;
  public_jwk: object | null;
};

let tessera: Awaited<ReturnType<typeof openShared>>;
beforeAll(async () => {
  tessera = await openShared();
});
afterAll(() => tessera.close());

async function kidOf(alg: string, state: string): Promise<string> {
  const keys = await tessera.domains.signingKeys.list();
  const found = keys.find((key) => key.algorithm === alg && key.state === state);
  if (found === undefined) throw new Error(`there is no ${state} key of ${alg}`);
  return found.kid;
}

async function refusalOf(args: string[], input = ''): Promise<string> {
  const { exitCode, stdout, stderr } = await tessera.run([...args, '--json'], { input });
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
  return stderr;
}

function p256() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { privateKey, pem: String(privateKey.export({ format: 'pem', type: 'pkcs8' })) };
}

describe('key rotate', () => {
  test('says how long is left, and with --now rotates as often as asked, on record, every algorithm where none is named', async () => {
    const refusal = await refusalOf(['key', 'rotate']);
    expect(refusal).toMatch(/^error: announced just now: RS256, ES256; .* RS256 in 14 days \(at \S+Z\)/);
    const announced = await kidOf('RS256', 'next');
    const before = await kidOf('RS256', 'active');
    const { rotated } = await tessera.json(['key', 'rotate', '--now']);
    expect(rotated).toEqual(
      expect.arrayContaining([
        { alg: 'RS256', kid: announced, replaced_kid: before },
        { alg: 'ES256', kid: await kidOf('ES256', 'active'), replaced_kid: await kidOf('ES256', 'retired') },
      ]),
    );
    expect(await tessera.json(['key', 'rotate', '--now', '--alg', 'RS256'])).toEqual({
      rotated: [{ alg: 'RS256', kid: expect.not.stringContaining(announced), replaced_kid: announced }],
    });
    const events = await tessera.domains.audit.tail({ limit: 100, types: ['key.activated'] });
    const event = events.find(({ details }) => details.kid === announced);
    expect(event).toMatchObject({ actor: { kind: 'operator' } });
  });

  test('an algorithm that is not offered is refused', async () => {
    expect(await refusalOf(['key', 'rotate', '--alg', 'HS256', '--now'])).toContain('does not name HS256');
  });
});

test('key list tells what will happen to each key, and when', async () => {
  await tessera.domains.signingKeys.rotate({ algorithm: 'ES256' });
  const keys = (await tessera.json(['key', 'list'])) as unknown as Listed[];
  expect(new Set(keys.map(({ state, next_step }) => `${state} ${next_step}`))).toEqual(
    new Set(['active retirement', 'next activation', 'retired removal']),
  );
  for (const { next_step_at } of keys) expect(Date.parse(String(next_step_at))).toBeGreaterThan(Date.now());
  const { stdout } = await tessera.run(['key', 'list']);
  expect(stdout).toMatch(/^KID +ALG +STATE +ANNOUNCED_AT +ACTIVATED_AT +NEXT_STEP +NEXT_STEP_AT\n/);
  const awaited = keys.filter(({ successor_announced_at }) => successor_announced_at !== null);
  expect(awaited.map(({ alg, state }) => `${alg} ${state}`)).toEqual(['RS256 active']);
  expect(stdout).toContain(`\nthe next key of RS256 is to be announced at ${awaited[0]?.successor_announced_at}\n`);
});

test('key list tells of a public part that is not that of its key, and does not show it', async () => {
  const { knex } = tessera.domains.database;
  const kid = await kidOf('ES256', 'active');
  const { public_jwk } = await knex('signing_keys').where({ kid }).first();
  await knex('signing_keys')
    .where({ kid })
    .update({ public_jwk: { ...public_jwk, x: 'f'.repeat(43) } });
  try {
    const { exitCode, stdout, stderr } = await tessera.run(['key', 'list', '--json']);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(new RegExp(`^error: the public part of ${kid} was altered in the database: [^\n]+\n$`));
    const keys = JSON.parse(stdout) as Listed[];
    expect(keys.filter((key) => key.public_jwk === null).map((key) => key.kid)).toEqual([kid]);
  } finally {
    await knex('signing_keys').where({ kid }).update({ public_jwk });
  }
});

describe('key revoke', () => {
  test('the key that signs: refused with the time that is left, and done with --now', async () => {
    const kid = await kidOf('ES256', 'active');
    expect(await refusalOf(['key', 'revoke', kid])).toMatch(/may take its place in 14 days \(at \S+Z\); --now/);
    const next = await kidOf('ES256', 'next');
    const answer = { kid, alg: 'ES256', revoked: true, signing_kid: next };
    expect(await tessera.json(['key', 'revoke', kid, '--now'])).toEqual(answer);
    expect(await kidOf('ES256', 'revoked')).toBe(kid);
    expect(await tessera.json(['key', 'revoke', kid])).toEqual(answer);
  });

  test('a key that nobody knows is refused', async () => {
    expect(await refusalOf(['key', 'revoke', 'nobody', '--now'])).toContain('there is no signing key nobody');
    expect(await refusalOf(['key', 'revoke', '-a_name', '--now'])).toContain('there is no signing key -a_name');
    expect(await tessera.run(['key', 'revoke', 'nobody', '--nwo'])).toMatchObject({ exitCode: 2 });
  });
});

describe('key import', () => {
  test('from a file and from standard input: announced in the place of the one that was', async () => {
    const folder = freshFolder();
    const path = join(folder.path, 'key.pem');
    const { privateKey, pem } = p256();
    await writeFile(path, pem);
    await tessera.domains.signingKeys.rotate({ algorithm: 'ES256' });
    const announced = await kidOf('ES256', 'next');
    const imported = await tessera.json(['key', 'import', path]);
    expect(imported).toEqual({
      kid: await calculateJwkThumbprint(await exportJWK(privateKey)),
      alg: 'ES256',
      state: 'next',
      signs_from: expect.any(String),
      replaced_kid: announced,
    });
    folder.remove();
    const other = JSON.stringify({ keys: [await exportJWK(p256().privateKey)] });
    const { kid, replaced_kid } = await tessera.json(['key', 'import', '-'], other);
    expect(replaced_kid).toBe(imported.kid);
    expect(await kidOf('ES256', 'next')).toBe(kid);
    expect((await tessera.domains.signingKeys.list()).map((key) => key.kid)).not.toContain(imported.kid);
    await tessera.domains.signingKeys.rotate({ algorithm: 'ES256', now: true });
    const { privateJwks } = await tessera.domains.signingKeys.load();
    expect(privateJwks.find(({ alg }) => alg === 'ES256')?.kid).toBe(kid);
  });

  test('a key that is here or was revoked does not come back', async () => {
    const { pem } = p256();
    const { kid } = await tessera.json(['key', 'import', '-'], pem);
    expect(await refusalOf(['key', 'import', '-'], pem)).toContain(`${kid} is here already: it is next`);
    await tessera.domains.signingKeys.revoke(String(kid), {});
    expect(await refusalOf(['key', 'import', '-'], pem)).toContain(`${kid} is here already: it is revoked`);
  });

  test('what is no such key is refused, without a word of it, and what it came from is named', async () => {
    const folder = freshFolder();
    const path = join(folder.path, 'secret.pem');
    await writeFile(path, 'my-secret');
    const { pem } = p256();
    const ed25519 = String(generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }));
    const [another, notOffered, noKey, nowhere, noFile] = await Promise.all([
      refusalOf(['key', 'import', '-', '--alg', 'RS256'], pem),
      refusalOf(['key', 'import', '-'], ed25519),
      refusalOf(['key', 'import', path]),
      refusalOf(['key', 'import', '/nowhere/key.pem']),
      refusalOf(['key', 'import', folder.path]),
    ]);
    folder.remove();
    expect(another).toContain('standard input: a key of this type signs with ES256, not RS256');
    expect(notOffered).toContain('does not name EdDSA');
    expect(noKey).toContain(`${path}: holds no private key`);
    expect(noKey).not.toContain('my-secret');
    expect(nowhere).toContain("/nowhere/key.pem can't be read: there is no such file");
    expect(noFile).toContain(`${folder.path} can't be read: it is a folder`);
  });
});

describe('key reseal', () => {
  test('under a new key in front of the old one; afterwards the new one is enough, and the old one is not', async () => {
    const { database, signingKeys } = tessera.domains;
    const older = tessera.environment.KEY_ENCRYPTION_KEY;
    const newer = randomBytes(32).toString('base64url');
    const { privateJwks } = await signingKeys.load();
    const secrets = await database.knex('server_secrets');
    const { exitCode, stdout } = await tessera.run(['key', 'reseal', '--json'], {
      environment: { KEY_ENCRYPTION_KEY: `${newer},${older}` },
    });
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ signing_keys: privateJwks.length, server_secrets: secrets.length });
    const withNewer = await tessera.run(['doctor'], { environment: { KEY_ENCRYPTION_KEY: newer } });
    expect(withNewer).toMatchObject({ exitCode: 0 });
    const before = [await database.knex('signing_keys').orderBy('kid'), await database.knex('server_secrets')];
    const withOlder = await tessera.run(['key', 'rotate', '--now']);
    expect(withOlder).toEqual({
      exitCode: 1,
      stdout: '',
      stderr: expect.stringMatching(/^error: KEY_ENCRYPTION_KEY does not fit this database[^\n]*\n$/),
    });
    const folder = freshFolder();
    const ofDevelopment = await tessera.run(['key', 'rotate', '--now'], {
      environment: { KEY_ENCRYPTION_KEY: '', DATA_DIR: folder.path },
    });
    folder.remove();
    expect(ofDevelopment).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining(`'${join(folder.path, 'key-encryption-key')}' does not fit this database`),
    });
    expect([await database.knex('signing_keys').orderBy('kid'), await database.knex('server_secrets')]).toEqual(before);
  });
});
