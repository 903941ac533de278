import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { askToRegister, register } from '../../harness/registration.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { type CommandLine, createCommandLine } from './command-line.ts';

let server: TestServer;
let tessera: CommandLine;

beforeAll(async () => {
  server = await startTestServer({ environment: { REGISTRATION: 'token' } });
  tessera = createCommandLine({
    NODE_ENV: 'test',
    ISSUER: server.issuer,
    DATABASE_URL: server.databaseUrl,
    KEY_ENCRYPTION_KEY: server.keyEncryptionKey,
  });
});
afterAll(() => server?.close());

const COMMAND = ['client', 'registration-token'];

test('an operator makes a token, by which a client registers until it is revoked', async () => {
  const made = await tessera.json([...COMMAND, 'create', '--expires-in', '600', '--policy', 'any-links']);
  const value = String(made.registration_token);
  expect(made).toMatchObject({ id: expect.stringMatching(/^[0-9a-f]{16}$/), policies: ['any-links'] });
  const client = await register(server.issuer, {}, value);
  expect(await tessera.json(['client', 'show', client.id])).toMatchObject({
    registered_itself: true,
    registration_policies: ['any-links'],
  });
  const listed = await tessera.json([...COMMAND, 'list']);
  expect(JSON.stringify(listed)).toContain(String(made.id));
  expect(JSON.stringify(listed)).not.toContain(value);
  await tessera.json([...COMMAND, 'revoke', String(made.id)]);
  expect((await askToRegister(server.issuer, {}, value)).status).toBe(401);
  expect((await tessera.json(['client', 'show', client.id])).client_id).toBe(client.id);
  const events = await server.domains.database.knex('audit_events').orderBy('id').pluck('type');
  expect(events).toEqual(expect.arrayContaining(['registration_token.created', 'registration_token.revoked']));
});

test('what is not there is told in one line', async () => {
  for (const args of [
    ['create', '--policy', 'everything'],
    ['revoke', '0123456789abcdef'],
  ]) {
    const { exitCode, stdout, stderr } = await tessera.run([...COMMAND, ...args]);
    expect(exitCode).not.toBe(0);
    expect(stdout).toBe('');
    expect(stderr.trim().split('\n')).toHaveLength(1);
  }
});
