import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { asSuperuser, openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { until } from '../../harness/until.ts';
import { createCommandLine, openShared } from './command-line.ts';

describe('on a database that is set up', () => {
  let tessera: Awaited<ReturnType<typeof openShared>>;
  beforeAll(async () => {
    tessera = await openShared();
  });
  afterAll(() => tessera.close());

  test('keys are listed without their private parts', async () => {
    const keys = (await tessera.json(['key', 'list'])) as unknown as Record<string, unknown>[];
    expect(keys.map(({ alg, state }) => [alg, state]).sort()).toEqual([
      ['ES256', 'active'],
      ['RS256', 'active'],
    ]);
    for (const { public_jwk } of keys) expect(public_jwk).not.toHaveProperty('d');
  });

  test('the newest events are shown, by type where asked, and followed', async () => {
    const { audit } = tessera.domains;
    for (const clientId of ['one', 'two', 'three']) await audit.record({ type: 'client.created', clientId });
    await audit.record({ type: 'account.created', accountId: 'somebody' });
    const shown = (await tessera.json(['audit', 'tail', '--limit', '2', '--type', 'client'])) as unknown as unknown[];
    expect(shown).toMatchObject([
      { type: 'client.created', client_id: 'two', details: {} },
      { type: 'client.created', client_id: 'three', details: {} },
    ]);
    const followed = await tessera.follow(['audit', 'tail', '--follow', '--limit', '1', '--json'], async (next) => {
      const before = JSON.parse(await next());
      await audit.record({ type: 'client.updated', clientId: 'two' });
      return [before, JSON.parse(await next())];
    });
    expect(followed.value).toMatchObject([{ type: 'account.created' }, { type: 'client.updated', client_id: 'two' }]);
    expect(followed.exitCode).toBe(0);
    const unknown = await tessera.run(['audit', 'tail', '--type', 'nonsense']);
    expect(unknown).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/^error: --type nonsense is none of .*\n$/),
    });
  });

  test('events are shown in the order in which they happened, whichever was written first', async () => {
    const { audit } = tessera.domains;
    audit.enqueue({ type: 'token.issued', clientId: 'first', kind: 'client_credentials', scopes: [] });
    const enqueuedAt = Date.now();
    await until('a millisecond has passed', () => Date.now() > enqueuedAt);
    await audit.record({ type: 'client.deleted', clientId: 'second' });
    await audit.flush();
    expect((await audit.tail({ limit: 2 })).map(({ clientId }) => clientId)).toEqual(['second', 'first']);
    const shown = await tessera.json(['audit', 'tail', '--limit', '2']);
    expect(shown).toMatchObject([{ client_id: 'first' }, { client_id: 'second' }]);
    const { stdout } = await tessera.run(['audit', 'tail', '--limit', '2']);
    expect(stdout).toMatch(/client=first\b.*\n.*client=second\b/);
    const followed = await tessera.follow(['audit', 'tail', '--follow', '--limit', '2', '--json'], async (next) => [
      JSON.parse(await next()),
      JSON.parse(await next()),
    ]);
    expect(followed.value).toMatchObject([{ client_id: 'first' }, { client_id: 'second' }]);
  });

  test('doctor finds nothing wrong, and names the key that does not fit', async () => {
    expect(await tessera.json(['doctor'])).toMatchObject({
      ok: true,
      checks: ['configuration', 'database', 'clock', 'migrations', 'keys'].map((check) => ({ check, ok: true })),
    });
    const environment = { KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64url') };
    const { exitCode, stdout, stderr } = await tessera.run(['doctor', '--json'], { environment });
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      ok: false,
      checks: [
        { ok: true },
        { ok: true },
        { ok: true },
        { ok: true },
        { check: 'keys', ok: false, mend: expect.any(String) },
      ],
    });
    expect(stderr).toBe('error: 1 fault(s) found: keys\n');
  });

  test('doctor tells of a secret that was lost, and makes none', async () => {
    const secrets = () => tessera.domains.database.knex('server_secrets').orderBy(['name', 'version']);
    const [kept] = await secrets().where({ name: 'csrf_key' });
    await secrets().where({ name: 'csrf_key' }).delete();
    try {
      expect(await tessera.run(['doctor'])).toMatchObject({
        exitCode: 1,
        stdout: expect.stringMatching(/keys .*server_secrets has lost csrf_key: restore it from a backup/),
      });
      expect(await secrets().where({ name: 'csrf_key' })).toEqual([]);
    } finally {
      await tessera.domains.database.knex('server_secrets').insert(kept);
    }
  });

  test('a database or a configuration that is not as it must be is one line on standard error', async () => {
    const [away, refused, unset, examined] = await Promise.all([
      tessera.run(['client', 'list', '--json'], {
        environment: { DATABASE_URL: 'postgres://a:b@localhost:1/tessera' },
      }),
      tessera.run(['key', 'list'], { environment: { DATABASE_URL: `${tessera.environment.DATABASE_URL}_none` } }),
      tessera.run(['user', 'list', '--json'], { environment: { NODE_ENV: 'production', KEY_ENCRYPTION_KEY: '' } }),
      tessera.run(['doctor', '--json'], { environment: { NODE_ENV: 'production', KEY_ENCRYPTION_KEY: '' } }),
    ]);
    expect(away).toEqual({
      exitCode: 1,
      stdout: '',
      stderr: expect.stringMatching(/^error: the database can't be reached .*DATABASE_URL\n$/),
    });
    expect(refused).toEqual({
      exitCode: 1,
      stdout: '',
      stderr: expect.stringMatching(/^error: the database refused: .* does not exist\n$/),
    });
    expect(unset).toEqual({
      exitCode: 1,
      stdout: '',
      stderr: expect.stringMatching(/^error: ISSUER wants .*; KEY_ENCRYPTION_KEY wants .*\n$/),
    });
    expect(
      JSON.parse(examined.stdout).checks.map(({ ok, found }: { ok: boolean; found: string }) => [
        ok,
        found.split(' ')[0],
      ]),
    ).toEqual([
      [false, 'ISSUER'],
      [false, 'KEY_ENCRYPTION_KEY'],
    ]);
  });

  test('wrong usage is one line and exit code 2', async () => {
    const faults = await Promise.all([
      tessera.run(['nonsense', '--json']),
      tessera.run(['client']),
      tessera.run(['client', 'nonsense']),
      tessera.run(['client', 'show']),
      tessera.run(['api', 'create', '--id', 'urn:x', '--scope', 'x', '--format', 'jwt', '--ttl', 'long']),
    ]);
    for (const fault of faults)
      expect(fault).toEqual({ exitCode: 2, stdout: '', stderr: expect.stringMatching(/^error: .+\n$/) });
    const help = await tessera.run(['client', 'create', '--help']);
    expect(help).toMatchObject({ exitCode: 0, stderr: '', stdout: expect.stringContaining('--redirect-uri') });
    for (const words of [
      ['client', 'help'],
      ['client', '--help'],
    ])
      expect(await tessera.run(words)).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('rotate-secret') });
  });
});

describe('on an empty database', () => {
  let empty: TestDatabase;
  beforeAll(async () => {
    empty = await openTestDatabase({ isMigrated: false });
  });
  afterAll(() => empty.close());

  test('migrations go up and down and tell their state, without any key', async () => {
    const tessera = createCommandLine({ NODE_ENV: 'test', DATABASE_URL: empty.url });
    const { pending } = await tessera.json(['migrate', 'status']);
    expect(pending).toContain('20261124000100_revisions.ts');
    expect(await tessera.json(['migrate', 'up'])).toEqual({ applied: pending });
    expect(await tessera.json(['migrate', 'up'])).toEqual({ applied: [] });
    expect(await tessera.json(['migrate', 'status'])).toEqual({ applied: pending, pending: [] });
    const { reverted } = await tessera.json(['migrate', 'down']);
    expect(new Set(reverted as string[])).toEqual(new Set(pending as string[]));
    expect(await tessera.json(['migrate', 'status'])).toEqual({ applied: [], pending });
  });

  test('doctor says what a database user lacks who may not create tables', async () => {
    const role = `doctor_${randomBytes(6).toString('hex')}`;
    await asSuperuser(`create role ${role} login password 'secret'`);
    try {
      const url = Object.assign(new URL(empty.url), { username: role, password: 'secret' });
      const tessera = createCommandLine({ NODE_ENV: 'test', DATABASE_URL: url.href });
      const { exitCode, stdout } = await tessera.run(['doctor']);
      expect(exitCode).toBe(1);
      expect(stdout).toMatch(
        /FAULT {2}migrations .*permission denied.*\n.*let the user of DATABASE_URL .*create tables/,
      );
    } finally {
      await asSuperuser(`drop role ${role}`);
    }
  });

  test('in production a command waits for an operator to migrate', async () => {
    const tessera = createCommandLine({
      NODE_ENV: 'production',
      ISSUER: 'https://id.example.com',
      DATABASE_URL: empty.url,
      KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64url'),
    });
    const [list, doctor] = [await tessera.run(['client', 'list']), await tessera.run(['doctor'])];
    expect(list).toMatchObject({
      exitCode: 1,
      stdout: '',
      stderr: expect.stringMatching(/^error: .*tessera migrate up.*\n$/),
    });
    expect(doctor).toMatchObject({
      exitCode: 1,
      stdout: expect.stringMatching(/FAULT {2}migrations .*pending\n .*tessera migrate up/),
    });
  });
});
