import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createJobs, sweepTask } from '../../src/jobs/index.ts';
import { authorizationRequest } from '../harness/flows.ts';
import { silentLogger } from '../harness/loggers.ts';
import { Person } from '../harness/person.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { introspect, redeem, refresh, userinfo } from '../harness/token-requests.ts';
import { until } from '../harness/until.ts';
import { findSecret, readEverything, type StoredValue } from './database-dump.ts';
import { signedCookies } from './signed-cookies.ts';
import { runEverything, serverSecrets, type WholeRun } from './whole-run.ts';

let server: TestServer;
let run: WholeRun;
let stolen: StoredValue[];

beforeAll(async () => {
  server = await startTestServer({ environment: { REGISTRATION: 'token' } });
  const { domains, databaseUrl } = server;
  const jobs = createJobs({
    databaseUrl,
    logger: silentLogger,
    tasks: [sweepTask({ logger: silentLogger, intervalSeconds: 60, batchSize: 10, sweeps: [] })],
  });
  await jobs.start();
  run = await runEverything(server);
  const { knex } = domains.database;
  await until('a job is stored', async () => {
    const row = await knex.withSchema('pgboss').from('job').first();
    return row !== undefined;
  });
  await until('the audit log is written', async () => {
    const row = await knex('audit_events').where({ type: 'token.refreshed' }).first();
    return row !== undefined;
  });
  stolen = await readEverything(knex);
  await jobs.stop();
});
afterAll(() => server.close());

describe('who has stolen every table', () => {
  test('has looked at all of them', () => {
    const tables = new Set(stolen.map(({ place }) => place.split('.').slice(0, 2).join('.')));
    const expected = [
      'accounts',
      'api_key_counters',
      'api_key_usage',
      'api_keys',
      'artifacts',
      'audit_events',
      'client_secrets',
      'clients',
      'consents',
      'registration_tokens',
      'server_secrets',
    ];
    for (const table of [...expected, 'signing_keys']) expect(tables).toContain(`public.${table}`);
    expect([...tables].some((table) => table.startsWith('pgboss.'))).toBe(true);
    const kinds = stolen.filter(({ place }) => place === 'public.artifacts.kind').map(({ text }) => text);
    expect(new Set(kinds)).toEqual(
      new Set([
        'AccessToken',
        'AuthorizationCode',
        'ClientCredentials',
        'DeviceCode',
        'Grant',
        'Interaction',
        'PushedAuthorizationRequest',
        'RefreshToken',
        'RegistrationAccessToken',
        'ReplayDetection',
        'Session',
      ]),
    );
    expect(findSecret(stolen, run.client.id)).toContain('public.clients.id');
    expect(stolen.map(({ place }) => place)).toContain('public.artifacts.successor');
  });

  test('finds nothing there that was issued: no token, code, cookie, interaction, secret or password', () => {
    const found = [...run.secrets].map(([name, secret]) => [name, findSecret(stolen, secret)]);
    expect(found.filter(([, places]) => places?.length !== 0)).toEqual([]);
    expect(found.length).toBeGreaterThan(25);
  });

  test('finds no part of a private key and no key of the server', async () => {
    const secrets = await serverSecrets(server);
    const found = [...secrets].map(([name, secret]) => [name, findSecret(stolen, secret)]);
    expect(found.filter(([, places]) => places?.length !== 0)).toEqual([]);
    expect([...secrets.keys()]).toEqual(expect.arrayContaining(['RS256 d', 'RS256 p', 'RS256 qi', 'ES256 d']));
  });

  test('holds passwords as argon2id alone', () => {
    const hashes = stolen.filter(({ place }) => place === 'public.accounts.password_hash');
    expect(hashes.length).toBeGreaterThan(0);
    for (const { text } of hashes) expect(text).toMatch(/^\$argon2id\$/);
  });

  test('has no use for the id of any row: not as a token, not as a code, not as a session', async () => {
    const { issuer, domains } = server;
    const ids: Buffer[] = await domains.database.knex('artifacts').pluck('id');
    const others: string[] = await domains.database.knex('artifacts').whereNotNull('grant_id').pluck('grant_id');
    const uids: string[] = await domains.database.knex('artifacts').whereNotNull('session_uid').pluck('session_uid');
    const values = new Set([
      ...ids.flatMap((id) => [id.toString('hex'), id.toString('base64url'), id.toString('latin1')]),
      ...others,
      ...uids,
    ]);
    expect(values.size).toBeGreaterThan(40);
    for (const value of values) {
      expect((await introspect(issuer, run.client, value)).body).toEqual({ active: false });
      expect((await refresh(issuer, run.client, value)).body.error).toBe('invalid_grant');
      expect((await redeem(issuer, run.client, value, 'a'.repeat(43))).body.error).toBe('invalid_grant');
      if (!/^[\w-]+$/.test(value)) continue;
      expect((await userinfo(issuer, value)).status).toBe(401);
      const thief = new Person();
      // Signed as if the thief had the cookie keys too, which are not in the database.
      for (const [name, cookie] of signedCookies('tessera_session', value, domains.cookieKeys())) {
        thief.setCookie(name, cookie);
      }
      const { url } = await thief.open(authorizationRequest(issuer, run.client.id, { prompt: 'none' }).url);
      expect(new URL(url).searchParams.get('error')).toBe('login_required');
    }
  });

  test('would be in with the value of the cookie, so that the refusals above mean something', async () => {
    const { issuer, domains } = server;
    const person = new Person();
    const value = run.person.cookies().tessera_session ?? '';
    for (const [name, cookie] of signedCookies('tessera_session', value, domains.cookieKeys())) {
      person.setCookie(name, cookie);
    }
    const { url } = await person.open(authorizationRequest(issuer, run.client.id, { prompt: 'none' }).url);
    expect(new URL(url).searchParams.get('code')).toBeTruthy();
  });
});
