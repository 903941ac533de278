import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { demoAccount } from '../../src/playground/demo-data.ts';
import { createTestAccount, createTestApi, createTestClient, unique } from '../harness/factories.ts';
import { signInForTokens } from '../harness/flows.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { userinfo } from '../harness/token-requests.ts';
import { until } from '../harness/until.ts';
import { REGISTERED_METADATA } from './registered-metadata.ts';

/*
 * OpenID Connect Discovery 1.0 and OAuth 2.0 Authorization Server Metadata (RFC 8414): what is said is what is done.
 */

const PATHS = ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server'] as const;
/** In ID tokens, and about them alone. */
const OF_THE_TOKEN = ['aud', 'exp', 'iat', 'nonce', 'at_hash'];

type Metadata = Record<string, unknown>;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

async function discover(at: TestServer, path: string = PATHS[0]): Promise<Metadata> {
  const response = await fetch(`${at.address}${path}`);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toMatch(/^application\/json/);
  return (await response.json()) as Metadata;
}

const endpointsOf = (metadata: Metadata) =>
  Object.entries(metadata).filter(([name]) => /_endpoint$|^jwks_uri$/.test(name)) as [string, string][];
const list = (metadata: Metadata, name: string) => metadata[name] as string[];

describe('discovery (OpenID Connect Discovery 1.0, sections 3 and 4; RFC 8414, sections 2 and 3)', () => {
  test('the document is at both paths, and the same', async () => {
    const [openid, oauth] = await Promise.all(PATHS.map((path) => discover(server, path)));
    expect(openid).toEqual(oauth);
  });

  test('the issuer is the one that the document was found at, to the letter, and that tokens name', async () => {
    const { issuer } = await discover(server);
    expect(issuer).toBe(server.issuer);
    const client = await createTestClient(server.domains);
    const { id_token = '' } = await signInForTokens(server.issuer, client, await createTestAccount(server.domains));
    expect(decodeJwt(id_token).iss).toBe(issuer);
  });

  test('every endpoint that is named answers', async () => {
    const endpoints = endpointsOf(await discover(server));
    expect(endpoints.length).toBeGreaterThan(7);
    for (const [name, url] of endpoints) {
      const answers = await Promise.all(
        ['GET', 'POST'].map(async (method) => (await fetch(url, { method, redirect: 'manual' })).status),
      );
      const isThere = answers.every((status) => status < 500) && answers.some((status) => ![404, 405].includes(status));
      expect({ name, isThere, answers }).toMatchObject({ name, isThere: true });
    }
  });

  test('no member is one that nobody has registered', async () => {
    const unknown = Object.keys(await discover(server)).filter((name) => !REGISTERED_METADATA.has(name));
    expect(unknown).toEqual([]);
  });

  test('what can’t be done is not advertised: request_uri by reference, session management, front-channel logout', async () => {
    const metadata = await discover(server);
    expect(metadata.request_uri_parameter_supported).toBe(false);
    expect(Object.keys(metadata).filter((name) => /^check_session|^frontchannel/.test(name))).toEqual([]);
  });

  test('the members that each document must have are there', async () => {
    expect(await discover(server)).toMatchObject({
      authorization_endpoint: expect.any(String),
      token_endpoint: expect.any(String),
      userinfo_endpoint: expect.any(String),
      jwks_uri: expect.any(String),
      response_types_supported: expect.arrayContaining(['code']),
      subject_types_supported: expect.arrayContaining(['public']),
      id_token_signing_alg_values_supported: expect.arrayContaining(['RS256']),
      claim_types_supported: ['normal'],
    });
  });

  test('each claim of claims_supported is given to a person who has it, and none besides', async () => {
    const supported = list(await discover(server), 'claims_supported');
    const client = await createTestClient(server.domains, {
      metadata: {
        backchannel_logout_uri: 'https://app.example.com/logout',
        backchannel_logout_session_required: true,
      },
    });
    const account = await createTestAccount(server.domains, demoAccount.profile);
    await server.domains.accounts.update(account.account.id, { username: unique('person') });
    const asked = { id_token: { auth_time: null, acr: null, amr: null } };
    const { access_token: token, id_token: idToken = '' } = await signInForTokens(server.issuer, client, account, {
      parameters: { scope: 'openid profile email address phone', claims: JSON.stringify(asked) },
    });
    const inIdToken = Object.keys(decodeJwt(idToken)).filter((claim) => !OF_THE_TOKEN.includes(claim));
    const given = Object.keys((await userinfo(server.issuer, token)).body);
    expect([...new Set([...given, ...inIdToken])].sort()).toEqual([...supported].sort());
  });

  test('each scope of scopes_supported is granted when it is asked for, that of a new API too', async () => {
    const api = await createTestApi(server.domains);
    const scope = String(api.scopes[0]?.scope);
    await until('it is offered', async () => list(await discover(server), 'scopes_supported').includes(scope));
    const supported = list(await discover(server), 'scopes_supported');
    const ofOpenId = supported.filter((name) => !/:(read|write)$/.test(name));
    const client = await createTestClient(server.domains, { metadata: { scope: ofOpenId.join(' ') } });
    const { scope: granted } = await signInForTokens(server.issuer, client, await createTestAccount(server.domains), {
      parameters: { scope: ofOpenId.join(' '), prompt: 'consent' },
    });
    expect(granted?.split(' ').sort()).toEqual([...ofOpenId].sort());
  });

  test('each signing algorithm for ID tokens has a key', async () => {
    const metadata = await discover(server);
    const { keys } = (await (await fetch(String(metadata.jwks_uri))).json()) as {
      keys: { alg: string; kid: string }[];
    };
    const offered = list(metadata, 'id_token_signing_alg_values_supported');
    expect(offered.filter((alg) => !keys.some((key) => key.alg === alg))).toEqual([]);
    expect(new Set(keys.map(({ kid }) => kid)).size).toBe(keys.length);
  });

  test('no symmetric or empty algorithm is offered for anything', async () => {
    const offered = Object.entries(await discover(server)).filter(([name]) => /_alg_values_supported$/.test(name));
    expect(
      offered.flatMap(([, algorithms]) => algorithms).filter((alg) => /^(HS|none$|dir$|A\d+)/.test(String(alg))),
    ).toEqual([]);
  });
});

describe('discovery of an issuer that is reached by TLS', () => {
  let secure: TestServer;
  beforeAll(async () => {
    secure = await startTestServer({ environment: { ISSUER: 'https://id.example.com' } });
  });
  afterAll(() => secure.close());

  test('names https endpoints alone, all at the issuer', async () => {
    const metadata = await discover(secure);
    expect(metadata.issuer).toBe('https://id.example.com');
    const elsewhere = endpointsOf(metadata).filter(([, url]) => new URL(url).origin !== 'https://id.example.com');
    expect(elsewhere).toEqual([]);
  });

  test('agrees with the one at the other path', async () => {
    expect(await discover(secure, PATHS[1])).toEqual(await discover(secure));
  });
});
