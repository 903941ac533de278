import { type ChildProcess, spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type DocumentHost, startDocumentHost } from '../harness/document-host.ts';
import { createTestAccount, createTestClient, unique } from '../harness/factories.ts';
import { Person } from '../harness/person.ts';
import { freePort } from '../harness/process.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { until } from '../harness/until.ts';
import { type InstalledExample, installExample, nodeExample, type RunningProgram } from './example-program.ts';
import { walkthrough } from './walkthrough.ts';

const SCOPES = ['notes:read', 'notes:write'];

let server: TestServer;
let hosts: DocumentHost;
let installed: InstalledExample;
let program: RunningProgram;
let account: Awaited<ReturnType<typeof createTestAccount>>;
let resource: string;
let clientId: string;
const running = new Set<ChildProcess>();

beforeAll(async () => {
  hosts = await startDocumentHost();
  [server, installed] = await Promise.all([
    startTestServer({ environment: { CLIENT_ID_METADATA_DOCUMENTS: 'true', REGISTRATION: 'open' } }),
    installExample(nodeExample('mcp-server')),
  ]);
  account = await createTestAccount(server.domains);
  const port = await freePort();
  resource = `http://localhost:${port}/mcp`;
  await openApi(resource);
  clientId = hosts.serve('/client.json', {
    client_id: `${hosts.origin}/client.json`,
    client_name: 'Notes Agent',
    redirect_uris: ['http://127.0.0.1/callback'],
    token_endpoint_auth_method: 'none',
    application_type: 'native',
  });
  program = await installed.start({ ISSUER: server.issuer, RESOURCE: resource, PORT: String(port) });
}, 240_000);
afterAll(async () => {
  for (const child of running) child.kill('SIGKILL');
  await installed?.remove();
  await server?.close();
  await hosts?.close();
});

async function openApi(identifier: string): Promise<void> {
  const created = await server.domains.apis.create({
    identifier,
    name: 'Notes',
    scopes: SCOPES,
    tokenFormat: 'jwt',
    ttlSeconds: 300,
    isOpenToUnregistered: true,
  });
  if (!created.ok) throw new Error(created.reason);
}

/** The agent, as somebody runs it in a terminal. */
function runAgent(args: string[], settings: Record<string, string> = {}) {
  const child = spawn(process.execPath, ['agent.js', ...args], {
    cwd: installed.folder,
    env: { ...process.env, NODE_OPTIONS: '', ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const complaints = text(child.stderr);
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve)).finally(() =>
    running.delete(child),
  );
  let seen = 0;
  return {
    /** The next address that its person is asked to open. */
    async address(): Promise<URL> {
      const addresses = () => [...output.matchAll(/^ {2}(http\S+)$/gm)].map(([, found = '']) => found);
      const found = await until('the agent asks for a sign-in', () => addresses()[seen]);
      seen += 1;
      return new URL(found);
    },
    async end() {
      const exitCode = await ended;
      return { exitCode, output, complaints: await complaints };
    },
  };
}
type Agent = ReturnType<typeof runAgent>;

function credentials() {
  const { login, password } = account;
  return { login, password };
}

/** Opens the address that the agent shows, signs in and decides, as far as each is asked for. @returns the consent page */
async function decide(person: Person, agent: Agent, decision: 'allow' | 'deny' = 'allow') {
  const address = await agent.address();
  let page = await person.open(address.href);
  if (page.html.includes('name="password"')) page = await person.submit(page, credentials(), '/sign-in');
  const consent = page.html;
  const back = await person.submit(page, { decision }, '/consent');
  await fetch(back.url);
  return { consent, parameters: address.searchParams };
}

async function call(token?: string, body: object = { jsonrpc: '2.0', id: 1, method: 'tools/list' }) {
  const response = await fetch(resource, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(token === undefined ? undefined : { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify(body),
  });
  return {
    status: response.status,
    challenge: response.headers.get('www-authenticate') ?? '',
    body: await response.text(),
  };
}

describe('an agent that nobody registered', () => {
  test('finds its way from the URL of the server alone, and asks for no more than what it does', async () => {
    const person = new Person();
    const agent = runAgent([resource, 'buy milk'], { CLIENT_METADATA_URL: clientId });
    const first = await decide(person, agent);
    expect(Object.fromEntries(first.parameters)).toMatchObject({
      client_id: clientId,
      resource,
      scope: 'notes:read',
      code_challenge_method: 'S256',
    });
    expect(first.consent).toMatch(/Notes Agent<\/strong> is not registered here/);
    expect(first.consent).toContain(hosts.host);
    expect(first.consent).toContain('an app on this device');
    // To add a note it needs another scope, of which it learns by a 403.
    const second = await decide(person, agent);
    expect(second.parameters.get('scope')?.split(' ').sort()).toEqual(SCOPES);
    expect(await agent.end()).toEqual({
      exitCode: 0,
      output: expect.stringContaining('Your notes: ["buy milk"]'),
      complaints: '',
    });
  }, 60_000);

  test('is told no where its person says no', async () => {
    const agent = runAgent([resource], { CLIENT_METADATA_URL: clientId });
    await decide(new Person(), agent, 'deny');
    expect(await agent.end()).toMatchObject({ exitCode: 1, complaints: expect.stringContaining('access_denied') });
  }, 60_000);
});

test('an agent that an operator registered comes in under its own name', async () => {
  const registered = await createTestClient(server.domains, {
    metadata: {
      redirect_uris: ['http://127.0.0.1/callback'],
      grant_types: ['authorization_code'],
      token_endpoint_auth_method: 'none',
      application_type: 'native',
      scope: SCOPES.join(' '),
    },
  });
  const agent = runAgent([resource], { CLIENT_ID: registered.id });
  const { parameters, consent } = await decide(new Person(), agent);
  expect(parameters.get('client_id')).toBe(registered.id);
  expect(consent).not.toContain('is not registered here');
  expect(await agent.end()).toMatchObject({ exitCode: 0, output: expect.stringContaining('Your notes: ') });
}, 60_000);

describe('the server', () => {
  test('tells who has no token where to get one (RFC 9728)', async () => {
    const { status, challenge } = await call();
    expect(status).toBe(401);
    const metadataUrl = /resource_metadata="([^"]+)"/.exec(challenge)?.[1] ?? '';
    const metadata = await fetch(metadataUrl);
    expect(await metadata.json()).toMatchObject({ resource, authorization_servers: [server.issuer] });
  });

  async function tokenFor(audience: string, scope: string): Promise<string> {
    const service = await server.domains.clients.create({
      metadata: { client_id: unique('service'), grant_types: ['client_credentials'], scope },
    });
    if (!service.ok) throw new Error(service.reason);
    const response = await fetch(`${server.issuer}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${service.client.id}:${service.secret}`).toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials', resource: audience, scope }),
    });
    return ((await response.json()) as { access_token: string }).access_token;
  }

  test('takes no token that is for another server, though it has the same scopes', async () => {
    const other = `https://${unique('other')}.example.com/mcp`;
    await openApi(other);
    expect((await call(await tokenFor(resource, 'notes:read'))).status).toBe(200);
    const refused = await call(await tokenFor(other, 'notes:read'));
    expect(refused).toMatchObject({ status: 401, challenge: expect.stringContaining('error="invalid_token"') });
  });

  const add = { method: 'tools/call', params: { name: 'add_note', arguments: { text: 'x' } } };

  test.each([
    ['alone', { jsonrpc: '2.0', id: 1, ...add }],
    [
      'among others',
      [
        { jsonrpc: '2.0', id: 1, method: 'tools/list' },
        { jsonrpc: '2.0', id: 2, ...add },
      ],
    ],
  ])('lets nobody do what their scopes do not cover, asked for %s', async (_, body) => {
    const refused = await call(await tokenFor(resource, 'notes:read'), body);
    expect(refused).toMatchObject({ status: 403, challenge: expect.stringContaining('error="insufficient_scope"') });
    expect(refused.challenge).toContain('scope="notes:read notes:write"');
  });

  test.each(['', 'nonsense', 'a.b.c'])('takes no token that is none: "%s"', async (token) => {
    expect((await call(token)).status).toBe(401);
  });

  test('says that it listens', () => {
    expect(program.output()).toContain(`listening for ${resource}`);
  });
});

walkthrough('examples/mcp-server/README.md');
walkthrough('docs/guides/mcp-server.md');
