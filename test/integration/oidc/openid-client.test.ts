import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { exportJWK, generateKeyPair } from 'jose';
import * as oidc from 'openid-client';
import { defaults } from '../../../config/defaults.ts';
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
import { ageRotation } from '../../harness/rotations.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';

const GOODBYE = 'https://app.example.com/goodbye';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** A certified client library that is told the issuer and who it is, and nothing else. */
function discover(client: TestClient, authentication?: oidc.ClientAuth): Promise<oidc.Configuration> {
  return oidc.discovery(new URL(server.issuer), client.id, client.secret || undefined, authentication, {
    execute: [oidc.allowInsecureRequests],
  });
}

/** The way of a careful app: PKCE, state and nonce made and checked by the library. */
async function signIn(
  configuration: oidc.Configuration,
  parameters: Record<string, string>,
  credentials: { login: string; password: string },
) {
  const pkceCodeVerifier = oidc.randomPKCECodeVerifier();
  const expectedState = oidc.randomState();
  const expectedNonce = oidc.randomNonce();
  const url = oidc.buildAuthorizationUrl(configuration, {
    redirect_uri: REDIRECT_URI,
    code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: expectedState,
    nonce: expectedNonce,
    ...parameters,
  });
  const person = new Person();
  const back = await authorize(person, { url: url.href }, credentials);
  const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true };
  return { person, back, checks, tokens: await oidc.authorizationCodeGrant(configuration, back, checks) };
}

describe('a certified client library, from the discovery document alone,', () => {
  test('signs a person in, asks userinfo, refreshes, introspects, revokes and signs out', async () => {
    const client = await createTestClient(server.domains, { metadata: { post_logout_redirect_uris: [GOODBYE] } });
    const account = await createTestAccount(server.domains, { name: 'Ada Lovelace' });
    const configuration = await discover(client, oidc.ClientSecretBasic(client.secret));
    const { tokens, person } = await signIn(
      configuration,
      { scope: 'openid profile email offline_access', prompt: 'consent' },
      account,
    );
    const sub = tokens.claims()?.sub ?? '';
    expect(sub).toBe(account.account.id);

    const info = await oidc.fetchUserInfo(configuration, tokens.access_token, sub);
    expect(info).toMatchObject({ name: 'Ada Lovelace', email: account.login });

    const refreshed = await oidc.refreshTokenGrant(configuration, tokens.refresh_token ?? '');
    expect(refreshed.claims()?.sub).toBe(sub);
    const before = await oidc.tokenIntrospection(configuration, refreshed.access_token);
    expect(before).toMatchObject({ active: true, sub, client_id: client.id });

    await oidc.tokenRevocation(configuration, refreshed.access_token);
    expect(await oidc.tokenIntrospection(configuration, refreshed.access_token)).toEqual({ active: false });
    await expect(oidc.fetchUserInfo(configuration, refreshed.access_token, sub)).rejects.toThrow();

    const end = oidc.buildEndSessionUrl(configuration, {
      id_token_hint: tokens.id_token ?? '',
      post_logout_redirect_uri: GOODBYE,
      state: 'bye',
    });
    const done = await person.submit(await person.open(end.href), { logout: 'yes' }, '/logout/confirm');
    expect(done.url).toBe(`${GOODBYE}?state=bye`);
  });

  test('works as a public client, whose refresh tokens it exchanges one for the next', async () => {
    const client = await createTestClient(server.domains, { metadata: { token_endpoint_auth_method: 'none' } });
    const configuration = await discover(client, oidc.None());
    const { tokens } = await signIn(
      configuration,
      { scope: 'openid offline_access', prompt: 'consent' },
      await createTestAccount(server.domains),
    );
    const second = await oidc.refreshTokenGrant(configuration, tokens.refresh_token ?? '');
    expect(second.refresh_token).not.toBe(tokens.refresh_token);
    const retried = await oidc.refreshTokenGrant(configuration, tokens.refresh_token ?? '');
    expect(retried.refresh_token).toBe(second.refresh_token);
    await ageRotation(server.domains.database.pool, tokens.refresh_token, Number(defaults.REFRESH_TOKEN_LEEWAY));
    await expect(oidc.refreshTokenGrant(configuration, tokens.refresh_token ?? '')).rejects.toMatchObject({
      error: 'invalid_grant',
    });
  });

  test('refuses an answer that was mixed up: of another state, another issuer or another sign-in', async () => {
    const client = await createTestClient(server.domains);
    const account = await createTestAccount(server.domains);
    const configuration = await discover(client, oidc.ClientSecretPost(client.secret));
    const { back, checks } = await signIn(configuration, { scope: 'openid' }, account);
    const otherIssuer = new URL(back);
    otherIssuer.searchParams.set('iss', 'https://evil.example');
    await expect(oidc.authorizationCodeGrant(configuration, otherIssuer, checks)).rejects.toThrow();
    const withoutIssuer = new URL(back);
    withoutIssuer.searchParams.delete('iss');
    await expect(oidc.authorizationCodeGrant(configuration, withoutIssuer, checks)).rejects.toThrow();
    await expect(
      oidc.authorizationCodeGrant(configuration, back, { ...checks, expectedState: 'another' }),
    ).rejects.toThrow();
    // The code itself was redeemed once already.
    await expect(oidc.authorizationCodeGrant(configuration, back, checks)).rejects.toMatchObject({
      error: 'invalid_grant',
    });
  });

  test('understands why it was refused', async () => {
    const client = await createTestClient(server.domains);
    const wrong = await discover({ ...client, secret: 'wrong' }, oidc.ClientSecretBasic('wrong'));
    await expect(oidc.clientCredentialsGrant(wrong)).rejects.toMatchObject({ status: 401 });
    const configuration = await discover(client, oidc.ClientSecretBasic(client.secret));
    await expect(oidc.refreshTokenGrant(configuration, 'nonsense')).rejects.toMatchObject({
      error: 'invalid_grant',
      status: 400,
    });
  });

  test('gets client credentials for an API, by secret and by private_key_jwt', async () => {
    const api = await createTestApi(server.domains, { tokenFormat: 'jwt', signingAlgorithm: 'ES256' });
    const scope = api.scopes[0]?.scope ?? '';
    const bySecret = await createServiceClient(server.domains, scope);
    const { publicKey, privateKey } = await generateKeyPair('ES256');
    const byKey = await createServiceClient(server.domains, scope, {
      metadata: {
        token_endpoint_auth_method: 'private_key_jwt',
        jwks: { keys: [{ ...(await exportJWK(publicKey)), kty: 'EC', kid: 'one' }] },
      },
    });
    for (const configuration of [
      await discover(bySecret, oidc.ClientSecretBasic(bySecret.secret)),
      await discover(byKey, oidc.PrivateKeyJwt({ key: privateKey, kid: 'one' })),
    ]) {
      const { access_token, expires_in, refresh_token } = await oidc.clientCredentialsGrant(configuration, {
        scope,
        resource: api.identifier,
      });
      expect({ expires_in, refresh_token }).toEqual({ expires_in: 600, refresh_token: undefined });
      const introspected = await oidc.tokenIntrospection(configuration, access_token);
      expect(introspected).toMatchObject({ active: true, aud: api.identifier, scope });
    }
  });
});
