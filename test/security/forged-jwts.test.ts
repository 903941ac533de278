import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  base64url,
  decodeJwt,
  decodeProtectedHeader,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  importJWK,
  type JWK,
  SignJWT,
} from 'jose';
import { authorizationRequest } from '../harness/flows.ts';
import { Person } from '../harness/person.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { introspect, isActive, post, userinfo } from '../harness/token-requests.ts';
import { readEverything } from './database-dump.ts';
import { runEverything, signInAgain, type WholeRun } from './whole-run.ts';

let server: TestServer;
let run: WholeRun;
let person: Person;

beforeAll(async () => {
  server = await startTestServer({ environment: { REGISTRATION: 'token' } });
  run = await runEverything(server);
  person = new Person();
  await signInAgain(server.issuer, run, person);
});
afterAll(() => server.close());

type Forger = (claims: Record<string, unknown>, header?: Record<string, unknown>) => Promise<string>;
const SYMMETRIC = ['HS256', 'HS384', 'HS512'] as const;
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

function symmetric(alg: (typeof SYMMETRIC)[number], key: Uint8Array): Forger {
  return (claims, header = {}) => new SignJWT(claims).setProtectedHeader({ alg, ...header }).sign(key);
}

/** `alg: none` in several spellings, with and without something where the signature would be. */
function unsigned(alg: string, signature = ''): Forger {
  const part = (value: object) => base64url.encode(JSON.stringify(value));
  return async (claims, header = {}) => `${part({ alg, ...header })}.${part(claims)}.${signature}`;
}

const now = () => Math.floor(Date.now() / 1000);

function assertionClaims(clientId: string) {
  const { issuer } = server;
  return { iss: clientId, sub: clientId, aud: issuer, jti: randomUUID(), iat: now(), exp: now() + 60 };
}

/** What would be let in, each by name; empty where every forged JWT was refused, in the way that is right there. */
async function whatLetsIn(forge: Forger): Promise<string[]> {
  const { issuer } = server;
  const accessTokenClaims = { ...decodeJwt(run.jwt), iat: now(), exp: now() + 60, jti: randomUUID() };
  const { kid } = decodeProtectedHeader(run.jwt);
  const clientIds = [run.client.id, run.service.id];
  const assertions = await Promise.all(clientIds.map((id) => forge(assertionClaims(id))));
  const accessTokens = await Promise.all([
    forge(accessTokenClaims, { typ: 'at+jwt', kid }),
    forge(accessTokenClaims, { typ: 'at+jwt' }),
  ]);
  const request = authorizationRequest(issuer, run.client.id, { prompt: 'none' });
  const requestClaims = { ...Object.fromEntries(new URL(request.url).searchParams), iss: run.client.id, aud: issuer };
  const requestObject = new URL(request.url);
  requestObject.searchParams.set('request', await forge(requestClaims));
  const letIn: string[] = [];
  const check = (place: string, isRefused: boolean) => {
    if (!isRefused) letIn.push(place);
  };
  await Promise.all([
    ...assertions.map(async (client_assertion) => {
      const { status, body } = await post(`${issuer}/token`, undefined, {
        grant_type: 'client_credentials',
        client_assertion_type: ASSERTION_TYPE,
        client_assertion,
      });
      check(`client assertion: ${status} ${body.error}`, status === 401 && body.error === 'invalid_client');
    }),
    ...accessTokens.flatMap((token) => [
      introspect(issuer, run.client, token).then(({ status, body }) =>
        check(`introspection: ${JSON.stringify(body)}`, status === 200 && JSON.stringify(body) === '{"active":false}'),
      ),
      userinfo(issuer, token).then(({ status }) => check(`userinfo: ${status}`, status === 401 || status === 400)),
    ]),
    person.request(requestObject.href).then((response) => {
      const back = new URL(response.headers.get('location') ?? '', issuer).searchParams;
      check(`request object: ${back}`, back.get('error') === 'invalid_request_object' && !back.has('code'));
    }),
    person.request(`${issuer}/logout?id_token_hint=${accessTokens[0]}`).then((response) => {
      check(`id_token_hint: ${response.status}`, response.status === 400);
    }),
  ]);
  return letIn;
}

test('a JWT that we did sign is let in, so that the refusals below mean something', async () => {
  expect(await isActive(server.issuer, run.client, run.jwt)).toBe(true);
});

describe('a JWT is refused wherever one is taken', () => {
  test('when it is signed with any value of any column, in any of its readings', async () => {
    const values = await readEverything(server.domains.database.knex);
    const digests: Buffer[] = await server.domains.database.knex('client_secrets').pluck('digest');
    const keys = new Map<string, Uint8Array>();
    const add = (key: Uint8Array) => {
      if (key.length > 0) keys.set(Buffer.from(key).toString('hex'), key);
    };
    for (const { text } of values) {
      // Nothing shorter could be a key, and the tables are full of names, numbers and dates.
      if (text.length < 20 || /^\d{4}-\d\d-\d\dT/.test(text)) continue;
      add(Buffer.from(text));
      if (/^[0-9a-f]+$/i.test(text)) add(Buffer.from(text, 'hex'));
      if (/^[\w+/=-]+$/.test(text)) add(Buffer.from(text, 'base64'));
    }
    const letIn: string[] = [];
    let turn = 0;
    for (const key of keys.values()) {
      // One algorithm each: which of the three it is makes no difference to the server, which knows none of them.
      const alg = SYMMETRIC[turn++ % SYMMETRIC.length] ?? 'HS256';
      letIn.push(...(await whatLetsIn(symmetric(alg, key))));
    }
    for (const alg of SYMMETRIC) {
      for (const digest of digests) {
        for (const key of [digest, ...(['hex', 'base64', 'base64url'] as const).map((e) => digest.toString(e))]) {
          letIn.push(...(await whatLetsIn(symmetric(alg, Buffer.from(key)))));
        }
      }
    }
    expect(keys.size).toBeGreaterThan(50);
    expect(letIn).toEqual([]);
  });

  test('when it is signed with a public key of ours as if that were a shared secret (RS256 becomes HS256)', async () => {
    const response = await fetch(`${server.issuer}/jwks`);
    const text = await response.text();
    const { keys } = JSON.parse(text) as { keys: (JWK & { alg: string; kid: string })[] };
    const letIn: string[] = [];
    for (const jwk of keys) {
      const pem = await exportSPKI((await importJWK(jwk, jwk.alg)) as Parameters<typeof exportSPKI>[0]);
      const readings = [pem, pem.trim(), text, JSON.stringify(jwk), jwk.n ?? jwk.kid].map((value) =>
        Buffer.from(value),
      );
      for (const key of readings) {
        for (const alg of SYMMETRIC) letIn.push(...(await whatLetsIn(symmetric(alg, key))));
      }
    }
    expect(keys.length).toBe(2);
    expect(letIn).toEqual([]);
  });

  test('when it is not signed at all', async () => {
    const letIn: string[] = [];
    for (const alg of ['none', 'None', 'NONE', 'nOnE', '']) {
      for (const signature of ['', 'AAAA', run.jwt.split('.')[2] ?? '']) {
        letIn.push(...(await whatLetsIn(unsigned(alg, signature))));
      }
    }
    expect(letIn).toEqual([]);
  });

  test('when it brings a key of its own along', async () => {
    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
    const jwk = await exportJWK(publicKey);
    const attacker = 'https://attacker.example/keys';
    const headers: Record<string, unknown>[] = [
      { jwk },
      { jku: attacker },
      { x5u: attacker },
      { kid: '../../dev/null' },
    ];
    for (const header of headers) {
      const forge: Forger = (claims, own = {}) =>
        new SignJWT(claims).setProtectedHeader({ alg: 'ES256', ...own, ...header }).sign(privateKey);
      expect(await whatLetsIn(forge)).toEqual([]);
    }
  });
});

describe('a JWT of ours serves for what it was made for alone', () => {
  test('an ID token is no access token', async () => {
    const idToken = run.secrets.get('ID token') ?? '';
    expect(await isActive(server.issuer, run.client, idToken)).toBe(false);
    expect((await userinfo(server.issuer, idToken)).status).toBe(401);
  });

  test('an access token in JWT format for an API does not open userinfo', async () => {
    expect((await userinfo(server.issuer, run.jwt)).status).toBe(401);
  });

  test('an access token with a changed claim is dead', async () => {
    const [header = '', payload = '', signature = ''] = run.jwt.split('.');
    const claims = { ...(JSON.parse(Buffer.from(payload, 'base64url').toString()) as object), scope: 'admin' };
    const changed = [header, base64url.encode(JSON.stringify(claims)), signature].join('.');
    expect(await isActive(server.issuer, run.client, changed)).toBe(false);
    expect(await isActive(server.issuer, run.client, `${header}.${payload}.${signature.slice(0, -4)}AAAA`)).toBe(false);
  });
});
