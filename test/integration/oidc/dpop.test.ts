import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { calculateJwkThumbprint, decodeJwt, exportJWK } from 'jose';
import * as oidc from 'openid-client';
import { makeProofKeyPair, type ProofKeyPair, proofOf, requestWithProof } from '../../harness/dpop.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  REDIRECT_URI,
  type TestClient,
} from '../../harness/factories.ts';
import { authorize } from '../../harness/flows.ts';
import { Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { advanceServerSecrets } from '../../harness/server-secret-time.ts';
import { clientCredentials, introspect } from '../../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';

let first: TestServer;
let second: TestServer;
beforeAll(async () => {
  first = await startTestServer();
  second = await startTestServer({ node: first, environment: { ISSUER: first.issuer } });
});
afterAll(async () => {
  await second.close();
  await first.close();
});

const thumbprintOf = async ({ publicKey }: ProofKeyPair) => calculateJwkThumbprint(await exportJWK(publicKey));

/** A proof for the token endpoint, which all nodes call the same. */
const proofFor = (keys: ProofKeyPair, claims: Partial<Parameters<typeof proofOf>[1]>) =>
  proofOf(keys, { htu: `${first.issuer}/token`, ...claims });
const request = (node: TestServer, client: TestClient, proof: string) => requestWithProof(node.address, client, proof);

async function nonceOf(node: TestServer, client: TestClient, keys: ProofKeyPair): Promise<string> {
  const { nonce } = await request(node, client, await proofFor(keys, {}));
  if (nonce === undefined) throw new Error('no nonce was given');
  return nonce;
}

async function service(tokenFormat: 'jwt' | 'opaque' = 'opaque') {
  const api = await createTestApi(first.domains, { tokenFormat, signingAlgorithm: 'ES256' });
  return createServiceClient(first.domains, api.scopes.map(({ scope }) => scope).join(' '));
}

function discover(client: TestClient): Promise<oidc.Configuration> {
  return oidc.discovery(new URL(first.issuer), client.id, client.secret, undefined, {
    execute: [oidc.allowInsecureRequests],
  });
}

describe('a certified client library', () => {
  test.each(['jwt', 'opaque'] as const)(
    'gets a token in %s format bound to its key by client credentials, after a challenge that it answers by itself',
    async (format) => {
      const client = await service(format);
      const configuration = await discover(client);
      const keys = await makeProofKeyPair();
      const DPoP = oidc.getDPoPHandle(configuration, keys);
      const tokens = await oidc.clientCredentialsGrant(configuration, undefined, { DPoP });
      expect(tokens.token_type).toBe('dpop');
      const { body } = await introspect(first.issuer, client, tokens.access_token);
      const jkt = await thumbprintOf(keys);
      expect(body).toMatchObject({ active: true, token_type: 'DPoP', cnf: { jkt } });
    },
  );

  test('signs a person in with bound tokens, which userinfo takes with a proof and not without', async () => {
    const client = await createTestClient(first.domains, { metadata: { dpop_bound_access_tokens: true } });
    const account = await createTestAccount(first.domains);
    const configuration = await discover(client);
    const keys = await makeProofKeyPair();
    const DPoP = oidc.getDPoPHandle(configuration, keys);
    const pkceCodeVerifier = oidc.randomPKCECodeVerifier();
    const url = oidc.buildAuthorizationUrl(configuration, {
      redirect_uri: REDIRECT_URI,
      scope: 'openid offline_access',
      prompt: 'consent',
      code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
      dpop_jkt: await DPoP.calculateThumbprint(),
    });
    const back = await authorize(new Person(), { url: url.href }, account);
    const tokens = await oidc.authorizationCodeGrant(configuration, back, { pkceCodeVerifier }, undefined, { DPoP });
    const sub = account.account.id;
    expect(await oidc.fetchUserInfo(configuration, tokens.access_token, sub, { DPoP })).toMatchObject({ sub });
    await expect(oidc.fetchUserInfo(configuration, tokens.access_token, sub)).rejects.toThrow();
    const other = oidc.getDPoPHandle(configuration, await makeProofKeyPair());
    await expect(oidc.fetchUserInfo(configuration, tokens.access_token, sub, { DPoP: other })).rejects.toThrow();

    const refreshed = await oidc.refreshTokenGrant(configuration, tokens.refresh_token ?? '', undefined, { DPoP });
    const { body } = await introspect(first.issuer, client, refreshed.access_token);
    expect(body).toMatchObject({ active: true, token_type: 'DPoP', cnf: { jkt: await thumbprintOf(keys) } });
    // The client is registered for bound tokens alone.
    await expect(oidc.refreshTokenGrant(configuration, tokens.refresh_token ?? '')).rejects.toMatchObject({
      error: 'invalid_grant',
    });
  });
});

describe('a proof', () => {
  test('without a nonce is answered with one; with it, it is good', async () => {
    const client = await service();
    const keys = await makeProofKeyPair();
    const refused = await request(first, client, await proofFor(keys, {}));
    expect(refused).toMatchObject({ status: 400, body: { error: 'use_dpop_nonce' }, nonce: expect.any(String) });
    const good = await request(first, client, await proofFor(keys, { nonce: refused.nonce }));
    expect(good).toMatchObject({ status: 200, body: { token_type: 'DPoP' } });
  });

  test('is good once, on whichever node it comes again', async () => {
    const client = await service();
    const keys = await makeProofKeyPair();
    const proof = await proofFor(keys, { nonce: await nonceOf(first, client, keys) });
    expect((await request(first, client, proof)).status).toBe(200);
    for (const node of [first, second]) {
      expect(await request(node, client, proof)).toMatchObject({
        status: 400,
        body: { error: 'invalid_grant', error_description: expect.any(String) },
      });
    }
  });

  test('is good once, of many that come at once', async () => {
    const client = await service();
    const keys = await makeProofKeyPair();
    const proof = await proofFor(keys, { nonce: await nonceOf(first, client, keys) });
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) => request(index % 2 === 0 ? first : second, client, proof)),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  });

  test('for another address, of another method or by another key than it shows is refused', async () => {
    const client = await service();
    const keys = await makeProofKeyPair();
    const nonce = await nonceOf(first, client, keys);
    const otherKey = { ...keys, privateKey: (await makeProofKeyPair()).privateKey };
    const proofs = [
      await proofFor(keys, { nonce, htu: `${first.issuer}/introspect` }),
      await proofFor(keys, { nonce, htu: 'https://other.example.com/token' }),
      await proofFor(keys, { nonce, htm: 'GET' }),
      await proofFor(otherKey, { nonce }),
    ];
    for (const proof of proofs) {
      expect(await request(first, client, proof)).toMatchObject({ status: 400, body: { error: 'invalid_dpop_proof' } });
    }
  });
});

describe('a service that is registered for bound tokens', () => {
  test('gets none without a proof', async () => {
    const api = await createTestApi(first.domains);
    const client = await createServiceClient(first.domains, api.scopes[0]?.scope ?? '', {
      metadata: { dpop_bound_access_tokens: true },
    });
    expect(await clientCredentials(first.issuer, client)).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant' },
    });
    const keys = await makeProofKeyPair();
    const proof = await proofFor(keys, { nonce: await nonceOf(first, client, keys) });
    expect(await request(first, client, proof)).toMatchObject({ status: 200, body: { token_type: 'DPoP' } });
  });

  test('is told the key in the very JWT', async () => {
    const client = await service('jwt');
    const keys = await makeProofKeyPair();
    const proof = await proofFor(keys, { nonce: await nonceOf(first, client, keys) });
    const { body } = await request(first, client, proof);
    expect(decodeJwt(String(body.access_token)).cnf).toEqual({ jkt: await thumbprintOf(keys) });
  });
});

describe('nonces', () => {
  test('of one node are good at the other', async () => {
    const client = await service();
    const keys = await makeProofKeyPair();
    const nonce = await nonceOf(first, client, keys);
    // Of the API and the client the other node hears a moment later, and refuses their scope until then.
    const answer = await until(
      'the other node knows the client and its API',
      async () => {
        const given = await request(second, client, await proofFor(keys, { nonce }));
        return given.body.error !== 'invalid_scope' && given;
      },
      SEEN_WITHIN_MS,
    );
    expect(answer.status).toBe(200);
  });

  test('from before their secret was replaced are answered with a new one, on every node, and that is good', async () => {
    const client = await service();
    const configuration = await discover(client);
    const DPoP = oidc.getDPoPHandle(configuration, await makeProofKeyPair());
    await oidc.clientCredentialsGrant(configuration, undefined, { DPoP });
    const keys = await makeProofKeyPair();
    const old = await nonceOf(first, client, keys);

    // One is announced, and then takes over.
    await advanceServerSecrets(first.domains);
    await advanceServerSecrets(first.domains);
    for (const node of [first, second]) {
      const refused = await until(
        'the old nonce is refused',
        async () => {
          const answer = await request(node, client, await proofFor(keys, { nonce: old }));
          return answer.status === 400 && answer;
        },
        SEEN_WITHIN_MS,
      );
      expect(refused).toMatchObject({ body: { error: 'use_dpop_nonce' }, nonce: expect.any(String) });
      expect((await request(node, client, await proofFor(keys, { nonce: refused.nonce }))).status).toBe(200);
    }
    // The library still has the nonce of before, and mends it by itself.
    expect((await oidc.clientCredentialsGrant(configuration, undefined, { DPoP })).token_type).toBe('dpop');
  });
});
