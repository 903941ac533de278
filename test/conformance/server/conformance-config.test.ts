import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { importJWK } from 'jose';
import { asSuperuser, testServerUrl } from '../../harness/database.ts';
import { assertionOf } from '../../harness/fapi-client.ts';
import { authorizationRequest } from '../../harness/flows.ts';
import { freshFolder } from '../../harness/fresh-folder.ts';
import { freePort } from '../../harness/process.ts';
import { type SecureFetch, secureFetch } from '../../harness/secure-fetch.ts';
import { until } from '../../harness/until.ts';
import type { SuiteClients } from './suite-clients.ts';

const program = fileURLToPath(new URL('./main.ts', import.meta.url));
const CALLBACK = 'https://suite.example.com/test/a/tessera/callback';
const SECOND = `${CALLBACK}?dummy1=lorem&dummy2=ipsum`;

type Printed = SuiteClients & { server: { discoveryUrl: string }; certificate: string };

const database = `suite_${process.pid}_${Date.now()}`;
const folder = freshFolder('suite');
let child: ChildProcess;
let printed: Printed;
let issuer: string;
let ask: SecureFetch;
beforeAll(async () => {
  const [port, mtlsPort] = [await freePort(), await freePort()];
  const settings = join(folder.path, 'suite.json');
  const uris = { redirectUris: [CALLBACK], secondRedirectUris: [SECOND] };
  writeFileSync(settings, JSON.stringify({ host: 'localhost', port, mtlsPort, ...uris }));
  const url = await freshDatabase();
  child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, '--config', settings], {
    env: { PATH: process.env.PATH, DATABASE_URL: url },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout?.on('data', (chunk) => {
    said += chunk;
  });
  printed = await until('it prints what a suite wants', () => {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    return said.endsWith('}\n') && (JSON.parse(said) as Printed);
  });
  issuer = new URL(printed.server.discoveryUrl).origin;
  ask = secureFetch({ ca: readFileSync(printed.certificate, 'utf8') });
});
afterAll(async () => {
  ask?.close();
  child?.kill('SIGKILL');
  await asSuperuser(`drop database if exists ${database} with (force)`);
  folder.remove();
});

/** Of its own, which the server makes ready. */
async function freshDatabase(): Promise<string> {
  await asSuperuser(`create database ${database}`);
  const url = new URL(testServerUrl());
  url.pathname = `/${database}`;
  return url.href;
}

test('the server answers over TLS under the name and the certificate that it prints', async () => {
  const response = await ask(printed.server.discoveryUrl);
  expect(await response.json()).toMatchObject({
    issuer,
    response_types_supported: expect.arrayContaining(['code id_token']),
  });
});

test('clients for basic need no PKCE, and the second has a redirect URI with a query', async () => {
  for (const [client, redirect_uri] of [
    [printed.basic.client, CALLBACK],
    [printed.basic.client2, SECOND],
  ] as const) {
    const { url } = authorizationRequest(issuer, client.client_id, {
      redirect_uri,
      code_challenge: undefined,
      code_challenge_method: undefined,
    });
    const response = await ask(url, { redirect: 'manual' } as never);
    expect(response.headers.get('location')).toMatch(/\/interaction\//);
  }
});

test('clients for FAPI 2.0 push with the keys that it prints', async () => {
  for (const [{ client_id: id, jwks }, redirect_uri] of [
    [printed.fapi2.client, CALLBACK],
    [printed.fapi2.client2, SECOND],
  ] as const) {
    const [jwk] = jwks?.keys ?? [];
    const privateKey = (await importJWK(jwk ?? {}, 'PS256')) as Parameters<typeof assertionOf>[0]['privateKey'];
    const client = { id, alg: 'PS256', privateKey } as Parameters<typeof assertionOf>[0];
    const { url } = authorizationRequest(issuer, id, { redirect_uri });
    const response = await ask(`${issuer}/par`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({
        ...Object.fromEntries(new URL(url).searchParams),
        ...(await assertionOf(client, issuer)),
      }).toString(),
    });
    expect(response.status).toBe(201);
  }
});

test('nothing is left when it ends', async () => {
  child.kill('SIGTERM');
  await until('it has ended', () => child.exitCode !== null);
  expect({ code: child.exitCode, isLeft: existsSync(dirname(printed.certificate)) }).toEqual({
    code: 0,
    isLeft: false,
  });
});
