import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { paymentType } from '../../harness/payments.ts';
import { openShared } from './command-line.ts';

let tessera: Awaited<ReturnType<typeof openShared>>;
let folder: string;

beforeAll(async () => {
  tessera = await openShared();
  folder = await mkdtemp(join(tmpdir(), 'tessera-cli-'));
});
afterAll(async () => {
  await tessera.close();
  await rm(folder, { recursive: true });
});

const ordersApi = () => ({ api: `urn:test:${randomUUID()}`, read: `r:${randomUUID()}`, write: `w:${randomUUID()}` });

test('an API is created, shown, changed, listed, described for its clients and deleted', async () => {
  const { api, read, write } = ordersApi();
  const scope = `${read} ${write}`;
  const created = await tessera.json(
    [
      'api',
      'create',
      '--id',
      api,
      '--scope',
      scope,
      '--format',
      'jwt',
      '--alg',
      'ES256',
      '--ttl',
      '120',
      '--name',
      'Orders',
    ].concat(['--describe', `${read}=Read your orders`]),
  );
  expect(created).toMatchObject({
    identifier: api,
    name: 'Orders',
    scopes: [
      { scope: read, description: 'Read your orders' },
      { scope: write, description: write },
    ],
    token_format: 'jwt',
    signing_algorithm: 'ES256',
    ttl_seconds: 120,
    introspection_client_ids: [],
    open_to_unregistered: false,
  });

  await tessera.domains.clients.create({ metadata: { client_id: read, grant_types: ['client_credentials'] } });
  const updated = await tessera.json([
    'api',
    'update',
    api,
    '--introspection-client',
    read,
    '--describe',
    `${write}=Place orders`,
    '--format',
    'opaque',
    '--open-to-unregistered',
  ]);
  expect(updated).toMatchObject({
    scopes: [
      { scope: read, description: 'Read your orders' },
      { scope: write, description: 'Place orders' },
    ],
    token_format: 'opaque',
    ttl_seconds: 120,
    introspection_client_ids: [read],
    open_to_unregistered: true,
  });
  expect(await tessera.json(['api', 'show', api])).toEqual(updated);
  expect(await tessera.json(['api', 'list'])).toContainEqual(updated);

  expect(await tessera.json(['api', 'metadata', api])).toEqual({
    resource: api,
    authorization_servers: ['http://localhost:3000'],
    scopes_supported: [read, write],
    bearer_methods_supported: ['header'],
    resource_name: 'Orders',
  });

  const { stdout, stderr } = await tessera.run(['api', 'metadata', api]);
  expect(JSON.parse(stdout)).toMatchObject({ resource: api });
  expect(stderr).toContain('only where the identifier of the API is an https URL');

  expect(await tessera.json(['api', 'delete', api])).toEqual({ identifier: api, deleted: true });
  expect(await tessera.run(['api', 'show', api, '--json'])).toEqual({
    exitCode: 1,
    stdout: '',
    stderr: `error: no API ${api} is registered\n`,
  });
});

test('an API’s types of authorization details come from a file, and say what is wrong with them', async () => {
  const { api, read } = ordersApi();
  const type = paymentType();
  const file = join(folder, `${read}.json`);
  await writeFile(file, JSON.stringify([type]));
  const create = ['api', 'create', '--id', api, '--scope', read, '--format', 'jwt', '--authorization-details', file];
  expect(await tessera.json(create)).toMatchObject({ authorization_details_types: [type] });
  expect(await tessera.json(['api', 'metadata', api])).toMatchObject({
    authorization_details_types_supported: [type.type],
  });
  await writeFile(file, JSON.stringify([{ ...type, summary: 'Pay {total}' }]));
  const update = ['api', 'update', api, '--authorization-details', file];
  expect((await tessera.run(update)).stderr).toContain('details_types: ');
  expect((await tessera.run(update)).stderr).toContain('{total}');
  await writeFile(file, '{}');
  expect((await tessera.run(update)).stderr).toContain('wants a JSON list');
  await writeFile(file, '[]');
  expect(await tessera.json(update)).toMatchObject({ authorization_details_types: [] });
});

test('the member that an API is refused for has the name that it has in the answer', async () => {
  const { api, read } = ordersApi();
  const create = ['api', 'create', '--id', api, '--scope', read, '--format', 'jwt'];
  await tessera.json(create);
  const refusals = await Promise.all([
    tessera.run([...create, '--alg', 'EdDSA']),
    tessera.run(['api', 'update', api, '--introspection-client', 'nobody']),
    tessera.run(create),
  ]);
  expect(refusals).toEqual(
    [/signing_algorithm: wants /, /introspection_client_ids: no client nobody /, /identifier: \S+ is taken/].map(
      (reason) => ({
        exitCode: 1,
        stdout: '',
        stderr: expect.stringMatching(new RegExp(`^error: ${reason.source}[^\n]*\n$`)),
      }),
    ),
  );
});

test('a client is answered as registered, and its secret is printed when it is made and never again', async () => {
  const { api, read } = ordersApi();
  const id = randomUUID();
  await tessera.domains.apis.create({ identifier: api, scopes: [read], tokenFormat: 'opaque' });
  const created = await tessera.json(
    [
      'client',
      'create',
      '--id',
      id,
      '--name',
      'Shop',
      '--grant',
      'authorization_code',
      '--grant',
      'refresh_token',
    ].concat(
      ['--redirect-uri', 'https://shop.example/cb', '--redirect-uri', 'https://shop.example/cb2'],
      ['--scope', `openid ${read}`, '--api', api, '--introspect-any', '--origin', 'https://shop.example'],
      ['--auth-method', 'client_secret_post'],
    ),
  );
  expect(created).toMatchObject({
    client_id: id,
    client_secret: expect.stringMatching(/^[\w-]{43}$/),
    client_secret_expires_at: 0,
    client_name: 'Shop',
    redirect_uris: ['https://shop.example/cb', 'https://shop.example/cb2'],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'client_secret_post',
    scope: `openid ${read}`,
    apis: [api],
    introspect_any: true,
    allowed_origins: ['https://shop.example'],
    created_at: expect.any(String),
  });
  const { clients } = tessera.domains;
  expect(await clients.verifySecret(id, String(created.client_secret))).toBe(true);

  const rotated = await tessera.json(['client', 'rotate-secret', id]);
  expect(rotated).toMatchObject({ client_id: id, client_secret: expect.stringMatching(/^[\w-]{43}$/) });
  expect(rotated.client_secret).not.toBe(created.client_secret);

  const updated = await tessera.json([
    'client',
    'update',
    id,
    '--name',
    'Store',
    '--no-api',
    '--no-introspect-any',
    '--redirect-uri',
    'https://store.example/cb',
  ]);
  expect(updated).toMatchObject({
    client_name: 'Store',
    redirect_uris: ['https://store.example/cb'],
    grant_types: ['authorization_code', 'refresh_token'],
    apis: [],
    introspect_any: false,
    allowed_origins: ['https://shop.example'],
  });
  expect(Object.keys(updated).filter((member) => member.startsWith('client_secret'))).toEqual([]);
  expect(await tessera.json(['client', 'show', id])).toEqual(updated);
  const listed = await tessera.run(['client', 'list']);
  expect(listed).toMatchObject({ exitCode: 0, stderr: '' });
  expect(listed.stdout).toMatch(new RegExp(`^${id} +Store +client_secret_post +authorization_code refresh_token`, 'm'));
});

test('a client’s roles, lifetime and scopes at an API are set, kept, replaced and taken away', async () => {
  const { api, read, write } = ordersApi();
  const { api: second } = ordersApi();
  for (const id of [api, second])
    await tessera.json(['api', 'create', '--id', id, '--scope', `${read} ${write}`, '--format', 'jwt']);
  const id = `c-${randomUUID()}`;
  const grants = ['--grant', 'client_credentials', '--scope', `${read} ${write}`];
  const created = await tessera.json(
    ['client', 'create', '--id', id, ...grants, '--role', 'worker', '--role', 'batch'].concat([
      '--access-token-ttl',
      '60',
      '--api',
      `${api} ${read}`,
      '--api',
      second,
    ]),
  );
  expect(created).toMatchObject({
    roles: ['worker', 'batch'],
    access_token_ttl_seconds: 60,
    apis: [api, second].sort(),
    api_scopes: { [api]: [read] },
  });
  const renamed = await tessera.json(['client', 'update', id, '--name', 'Worker']);
  expect(renamed).toMatchObject({
    roles: ['worker', 'batch'],
    access_token_ttl_seconds: 60,
    api_scopes: { [api]: [read] },
  });
  const changed = await tessera.json(['client', 'update', id, '--role', 'foreman', '--api', `${second} ${write}`]);
  expect(changed).toMatchObject({ roles: ['foreman'], apis: [second], api_scopes: { [second]: [write] } });
  const without = await tessera.json(['client', 'update', id, '--no-role', '--no-access-token-ttl', '--api', second]);
  expect(without).toMatchObject({ roles: [], apis: [second] });
  for (const member of ['access_token_ttl_seconds', 'api_scopes']) expect(without).not.toHaveProperty(member);

  for (const [flags, reason] of [
    [['--role', 'two words'], /^error: roles: wants roles of 1 to 64/],
    [['--access-token-ttl', '29'], /^error: access_token_ttl_seconds: wants whole seconds from 30 to 86400/],
    [['--api', `${second} other`], /^error: api_scopes: other is not among its scopes/],
  ] as const) {
    const refused = await tessera.run(['client', 'update', id, ...flags]);
    expect(refused).toMatchObject({ exitCode: 1, stdout: '', stderr: expect.stringMatching(reason) });
  }
  const events = await tessera.domains.audit.tail({ limit: 100, types: ['client.roles_set'] });
  expect(events.filter(({ clientId }) => clientId === id).map(({ details }) => details.roles)).toEqual(
    expect.arrayContaining([['worker', 'batch'], ['foreman'], []]),
  );
});

test('a client that is deleted leaves no token behind', async () => {
  const id = randomUUID();
  const { clients, artifacts, audit } = tessera.domains;
  await clients.create({ metadata: { client_id: id, grant_types: ['client_credentials'] } });
  await artifacts.upsert('ClientCredentials', `token-${id}`, { clientId: id }, 60);
  expect(await tessera.json(['client', 'delete', id])).toEqual({
    client_id: id,
    deleted: true,
    revoked: 1,
    former_introspection_apis: [],
  });
  expect(await artifacts.find('ClientCredentials', `token-${id}`)).toBeUndefined();
  const recorded = (await audit.tail({ limit: 100 })).filter(({ clientId }) => clientId === id);
  expect(recorded.map(({ type, actor }) => [type, actor?.kind])).toEqual([
    ['client.created', 'system'],
    ['client.deleted', 'operator'],
    ['grant.revoked', 'operator'],
  ]);
});

test('a secret that is brought along comes from standard input alone, and is not printed', async () => {
  const id = randomUUID();
  const secret = 'brought-along-0123456789abcdefghijklmnop';
  const create = ['client', 'create', '--id', id, '--grant', 'client_credentials'];
  expect(await tessera.run([...create, '--secret', secret])).toMatchObject({
    exitCode: 2,
    stdout: '',
    stderr: expect.stringMatching(/^error: option '--secret.*standard input.*\n$/),
  });
  const { exitCode, stdout } = await tessera.run([...create, '--secret', '-'], { input: `${secret}\n` });
  expect(exitCode).toBe(0);
  expect(stdout).not.toContain(secret);
  expect(await tessera.domains.clients.verifySecret(id, secret)).toBe(true);
});

test('metadata come from a file, under the options, and say what is wrong with them', async () => {
  const id = randomUUID();
  const file = join(folder, 'client metadata.json');
  await writeFile(file, JSON.stringify({ client_name: 'From the file', contacts: ['ops@shop.example'] }));
  const create = ['client', 'create', '--id', id, '--grant', 'client_credentials', '--metadata'];
  expect(await tessera.json([...create, file, '--name', 'Option'])).toMatchObject({
    client_name: 'Option',
    contacts: ['ops@shop.example'],
  });
  expect(await tessera.run([...create, '-', '--json'], { input: '{"redirect_uri": "x"}' })).toEqual({
    exitCode: 1,
    stdout: '',
    stderr: 'error: redirect_uri: is not a member that can be registered\n',
  });
});

test('a public client on the device itself is a native one, without a secret', async () => {
  const create = ['client', 'create', '--id', randomUUID(), '--grant', 'authorization_code', '--auth-method', 'none'];
  const created = await tessera.json([...create, '--redirect-uri', 'http://127.0.0.1/cb']);
  expect(created).toMatchObject({ application_type: 'native', token_endpoint_auth_method: 'none' });
  expect(created).not.toHaveProperty('client_secret');
});

test('a scope that nobody owns is refused, naming it', async () => {
  const refused = await tessera.run([
    'client',
    'create',
    '--id',
    randomUUID(),
    '--grant',
    'client_credentials',
    '--scope',
    'nobody:owns',
  ]);
  expect(refused).toMatchObject({
    exitCode: 1,
    stdout: '',
    stderr: expect.stringMatching(/^error: .*nobody:owns.*\n$/),
  });
});

test('what is changed here is honoured by a running server', async () => {
  const id = randomUUID();
  const { clients } = tessera.domains;
  await clients.create({ metadata: { client_id: id, client_name: 'Before', grant_types: ['client_credentials'] } });
  expect((await clients.find(id))?.metadata.client_name).toBe('Before');
  await tessera.json(['client', 'update', id, '--name', 'After']);
  expect((await clients.find(id))?.metadata.client_name).toBe('After');
});
