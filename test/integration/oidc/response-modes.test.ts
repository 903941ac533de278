import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { createTestAccount, createTestClient, REDIRECT_URI } from '../../harness/factories.ts';
import { authorizationRequest } from '../../harness/flows.ts';
import { Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { redeem } from '../../harness/token-requests.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** Signs in and agrees. @returns the redirect, or the page that posts the answer */
async function answerTo(parameters: Record<string, string>, metadata: Record<string, unknown> = {}) {
  const client = await createTestClient(server.domains, { metadata });
  const person = await createTestAccount(server.domains);
  const request = authorizationRequest(server.issuer, client.id, parameters);
  const browser = new Person();
  const signIn = await browser.open(request.url);
  const consent = await browser.submit(signIn, { login: person.login, password: person.password }, '/sign-in');
  const last = await browser.submit(consent, { decision: 'allow' }, '/consent');
  return { ...request, client, last };
}

const verify = async (response: string, clientId: string) =>
  (
    await jwtVerify(response, createRemoteJWKSet(new URL(`${server.issuer}/jwks`)), {
      issuer: server.issuer,
      audience: clientId,
    })
  ).payload;

function fieldsOf(html: string): Record<string, string> {
  const inputs = [...html.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)];
  return Object.fromEntries(inputs.map(([, name = '', value = '']) => [name, value]));
}

describe('a signed response (JARM)', () => {
  test.each([
    ['jwt', 'query'],
    ['query.jwt', 'query'],
    ['fragment.jwt', 'fragment'],
  ])('of mode %s has everything in one token, in the %s', async (mode, place) => {
    const { client, last, state, verifier } = await answerTo({ response_mode: mode });
    const back = new URL(last.url);
    const parameters = place === 'query' ? back.searchParams : new URLSearchParams(back.hash.slice(1));
    expect([...parameters.keys()]).toEqual(['response']);
    const claims = await verify(String(parameters.get('response')), client.id);
    expect(claims).toMatchObject({ state, code: expect.any(String), exp: expect.any(Number) });
    expect((await redeem(server.issuer, client, String(claims.code), verifier)).status).toBe(200);
  });

  test('tells an error in the same way', async () => {
    const client = await createTestClient(server.domains);
    const { url, state } = authorizationRequest(server.issuer, client.id, { response_mode: 'jwt', prompt: 'none' });
    const back = new URL((await new Person().open(url)).url);
    expect(await verify(String(back.searchParams.get('response')), client.id)).toMatchObject({
      error: 'login_required',
      state,
    });
  });

  test('is signed by the algorithm that the client has registered', async () => {
    const { last } = await answerTo({ response_mode: 'jwt' }, { authorization_signed_response_alg: 'ES256' });
    const response = String(new URL(last.url).searchParams.get('response'));
    expect(decodeProtectedHeader(response).alg).toBe('ES256');
  });
});

describe('an answer by form', () => {
  test.each(['form_post', 'form_post.jwt'])('of mode %s leaves nothing in a URL', async (mode) => {
    const { client, last, state, verifier } = await answerTo({ response_mode: mode });
    expect(last.response.status).toBe(200);
    expect(last.response.headers.get('cache-control')).toMatch(/no-store/);
    expect(last.html).toContain(`action="${REDIRECT_URI}"`);
    expect(last.html).toMatch(/<noscript>.*<button[^>]*type="submit"/s);
    const fields = fieldsOf(last.html);
    const answer = mode === 'form_post' ? fields : await verify(String(fields.response), client.id);
    expect(answer).toMatchObject({ state, code: expect.any(String) });
    expect((await redeem(server.issuer, client, String(answer.code), verifier)).status).toBe(200);
  });

  test('says no more of a person’s page than any other: strict policy, no referrer, in no frame', async () => {
    const { last } = await answerTo({ response_mode: 'form_post' });
    const policy = last.response.headers.get('content-security-policy') ?? '';
    expect(policy).toMatch(/frame-ancestors 'none'/);
    expect(policy).not.toMatch(/unsafe-inline|form-action/);
    expect(last.response.headers.get('referrer-policy')).toBe('no-referrer');
  });
});
