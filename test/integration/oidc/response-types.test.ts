import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { createTestAccount, createTestClient } from '../../harness/factories.ts';
import { authorizationRequest, authorize } from '../../harness/flows.ts';
import { errorOnPage, Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { redeem, userinfo } from '../../harness/token-requests.ts';

const ALL = ['code', 'id_token', 'id_token token', 'code id_token', 'code token', 'code id_token token'];

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ environment: { RESPONSE_TYPES: ALL.join(',') } });
});
afterAll(() => server.close());

const hybridClient = (responseTypes: string[] = ALL) =>
  createTestClient(server.domains, {
    metadata: {
      profile: 'oidc-basic',
      response_types: responseTypes,
      grant_types: [
        ...(responseTypes.some((type) => type.includes('code')) ? ['authorization_code', 'refresh_token'] : []),
        ...(responseTypes.some((type) => type.includes('token')) ? ['implicit'] : []),
      ],
    },
  });

const halfHash = (value: string) =>
  createHash('sha256').update(value, 'ascii').digest().subarray(0, 16).toString('base64url');

/** What comes back behind the `#`. */
async function answerTo(
  client: { id: string },
  responseType: string,
  parameters: Record<string, string | undefined> = {},
) {
  const person = await createTestAccount(server.domains);
  const request = authorizationRequest(server.issuer, client.id, { response_type: responseType, ...parameters });
  const back = await authorize(new Person(), request, person);
  return { ...request, back, person, answer: Object.fromEntries(new URLSearchParams(back.hash.slice(1))) };
}

const verifyIdToken = async (token: string, clientId: string) =>
  (
    await jwtVerify(token, createRemoteJWKSet(new URL(`${server.issuer}/jwks`)), {
      issuer: server.issuer,
      audience: clientId,
    })
  ).payload;

describe('response types beside code', () => {
  test.each(ALL.slice(1))('%s gives what it names, in the fragment, bound together by hashes', async (type) => {
    const client = await hybridClient();
    const { back, answer, nonce, state, verifier, person } = await answerTo(client, type);
    expect(back.search).toBe('');
    const words = type.split(' ');
    expect({
      code: answer.code !== undefined,
      id_token: answer.id_token !== undefined,
      token: answer.access_token !== undefined,
    }).toEqual({ code: words.includes('code'), id_token: words.includes('id_token'), token: words.includes('token') });
    // RFC 9207: who answers, which an ID token says as well.
    expect(answer).toMatchObject({ state, ...(answer.id_token === undefined && { iss: server.issuer }) });
    if (answer.id_token !== undefined) {
      const claims = await verifyIdToken(answer.id_token, client.id);
      expect(claims).toMatchObject({ nonce, sub: person.account.id });
      expect(claims.c_hash).toBe(answer.code && halfHash(answer.code));
      expect(claims.at_hash).toBe(answer.access_token && halfHash(answer.access_token));
    }
    if (answer.access_token !== undefined) {
      expect(answer).toMatchObject({ token_type: 'Bearer', expires_in: expect.stringMatching(/^\d+$/) });
      expect((await userinfo(server.issuer, answer.access_token)).status).toBe(200);
    }
    expect(answer).not.toHaveProperty('refresh_token');
    if (answer.code !== undefined) {
      const { status, body } = await redeem(server.issuer, client, answer.code, verifier);
      expect(status).toBe(200);
      expect((await verifyIdToken(String(body.id_token), client.id)).sub).toBe(person.account.id);
    }
  });

  test('the order of the words does not matter', async () => {
    const client = await hybridClient();
    const { answer } = await answerTo(client, 'id_token code');
    expect(Object.keys(answer)).toEqual(expect.arrayContaining(['code', 'id_token']));
  });

  test('an ID token in the front channel wants a nonce', async () => {
    const client = await hybridClient();
    for (const type of ['id_token', 'code id_token']) {
      const { url } = authorizationRequest(server.issuer, client.id, { response_type: type, nonce: undefined });
      const back = new URL((await new Person().open(url)).url);
      expect(new URLSearchParams(back.hash.slice(1)).get('error')).toBe('invalid_request');
    }
  });

  test('what comes back behind # may not be asked for in the query', async () => {
    const client = await hybridClient();
    for (const type of ALL.slice(1)) {
      const { url } = authorizationRequest(server.issuer, client.id, { response_type: type, response_mode: 'query' });
      const page = await new Person().open(url);
      const back = new URL(page.url);
      const refusal =
        errorOnPage(page.html) ??
        back.searchParams.get('error') ??
        new URLSearchParams(back.hash.slice(1)).get('error');
      expect({ type, refusal, query: back.searchParams.get('code') }).toEqual({
        type,
        refusal: 'invalid_request',
        query: null,
      });
    }
  });

  test('a client gets only what it is registered for', async () => {
    const client = await hybridClient(['code', 'code id_token']);
    for (const type of ['id_token', 'code token', 'id_token token']) {
      const { url } = authorizationRequest(server.issuer, client.id, { response_type: type });
      const back = new URL((await new Person().open(url)).url);
      expect(new URLSearchParams(back.hash.slice(1)).get('error')).toBe('invalid_request');
    }
  });

  test('are listed in discovery', async () => {
    const document = (await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json()) as Record<
      string,
      string[]
    >;
    expect(document.response_types_supported?.map((type) => type.split(' ').sort().join(' ')).sort()).toEqual(
      ALL.map((type) => type.split(' ').sort().join(' ')).sort(),
    );
    expect(document.grant_types_supported).toContain('implicit');
  });
});

test('nothing but code is offered unless the operator says so, whatever a client is registered for', async () => {
  const plain = await startTestServer({ node: server, environment: { ISSUER: server.issuer } });
  try {
    const document = (await (await fetch(`${plain.address}/.well-known/openid-configuration`)).json()) as Record<
      string,
      unknown
    >;
    expect(document.response_types_supported).toEqual(['code']);
    expect(document.grant_types_supported).not.toContain('implicit');
    const refused = await plain.domains.clients.create({
      metadata: {
        client_id: 'implicit-app',
        profile: 'oidc-basic',
        redirect_uris: ['https://app.example.com/callback'],
        grant_types: ['implicit'],
        response_types: ['id_token'],
      },
    });
    expect(refused).toMatchObject({ ok: false, code: 'invalid_metadata' });
  } finally {
    await plain.close();
  }
});
