import { randomBytes } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose';
import type { Api } from '../../src/clients/index.ts';
import { asClient, createTestApiKey, tokenByBearer } from '../harness/api-keys.ts';
import { askForCodes, connectDevice, createDeviceClient, enterCode, poll } from '../harness/devices.ts';
import { makeProofKeyPair, proofOf, requestWithProof } from '../harness/dpop.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  type TestClient,
} from '../harness/factories.ts';
import { authorizationRequest, authorize, codeFor } from '../harness/flows.ts';
import { Person } from '../harness/person.ts';
import { push, pushedUrl } from '../harness/pushed-requests.ts';
import { register, send, WEB_APP } from '../harness/registration.ts';
import type { TestServer } from '../harness/server.ts';
import { exchange, TOKEN_EXCHANGE } from '../harness/token-exchange.ts';
import { introspect, post, redeem, refresh, revoke, serviceToken, userinfo } from '../harness/token-requests.ts';

/** A name for each secret, so that a finding says which one leaked and never prints it. */
export type Secrets = Map<string, string>;

const SECRET_JWK_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k'] as const;
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

/** Everything that the server itself knows and nobody else may. */
export async function serverSecrets({ domains, keyEncryptionKey }: TestServer): Promise<Secrets> {
  const secrets: Secrets = new Map([['key-encryption key', keyEncryptionKey]]);
  domains.cookieKeys().forEach((key, index) => {
    secrets.set(`cookie key ${index}`, key);
  });
  const { artifactSealer: _sealer, cookieKeys: _keys, ...keys } = domains.serverSecrets.current();
  for (const [name, key] of Object.entries(keys)) {
    secrets.set(name, Buffer.from(key).toString('base64url'));
  }
  const { privateJwks } = await domains.signingKeys.load();
  for (const jwk of privateJwks) {
    for (const member of SECRET_JWK_MEMBERS) {
      const value = jwk[member];
      if (typeof value === 'string') secrets.set(`${jwk.alg} ${member}`, value);
    }
  }
  return secrets;
}

export type WholeRun = {
  secrets: Secrets;
  client: TestClient;
  publicClient: TestClient;
  service: TestClient;
  account: { id: string; login: string; password: string };
  /** Signed in to `client`, whose access token is live. */
  person: Person;
  accessToken: string;
  jwt: string;
};

/** Every flow there is, with something of each kind left alive in the database; gathers what was issued on the way. */
export async function runEverything(server: TestServer): Promise<WholeRun> {
  const { issuer, domains } = server;
  const secrets: Secrets = new Map();
  const keep = (name: string, value: unknown) => {
    if (typeof value !== 'string' || value === '') throw new Error(`${name} was not issued`);
    secrets.set(name, value);
    return value;
  };
  const jwtApi = await createTestApi(domains, { tokenFormat: 'jwt', signingAlgorithm: 'ES256' });
  const opaqueApi = await createTestApi(domains);
  const scopesOf = (api: typeof jwtApi) => api.scopes.map(({ scope }) => scope).join(' ');
  const openid = 'openid profile email address phone offline_access';
  const scope = `${openid} ${scopesOf(jwtApi)} ${scopesOf(opaqueApi)}`;
  const client = await createTestClient(domains, { metadata: { scope } });
  const rotated = await domains.clients.rotateSecret(client.id);
  if (!rotated.ok) throw new Error(rotated.reason);
  keep('client secret', client.secret);
  keep('rotated client secret', rotated.secret);
  const publicClient = await createTestClient(domains, { metadata: { token_endpoint_auth_method: 'none' } });
  const service = await createServiceClient(domains, `${scopesOf(jwtApi)} ${scopesOf(opaqueApi)}`);
  keep('service secret', service.secret);

  const { account, login } = await createTestAccount(domains);
  const password = keep('password', `pass-${randomBytes(12).toString('base64url')}`);
  await domains.accounts.setPassword(account.id, password);
  const credentials = { login, password };

  // Sign in, consent, redeem, refresh, look, revoke.
  const person = new Person();
  const parameters = { scope: openid, prompt: 'consent', login_hint: login };
  const issued = await codeFor(issuer, client, credentials, { person, parameters });
  keep('code', issued.code);
  keep('code verifier', issued.verifier);
  const tokens = (await redeem(issuer, client, issued.code, issued.verifier)).body;
  const accessToken = keep('access token', tokens.access_token);
  const idToken = keep('ID token', tokens.id_token);
  keep('refresh token', tokens.refresh_token);
  keep('refreshed access token', (await refresh(issuer, client, String(tokens.refresh_token))).body.access_token);
  await userinfo(issuer, accessToken);
  await introspect(issuer, client, accessToken);

  // A token in JWT format, for an API.
  const forApi = await codeFor(issuer, client, credentials, {
    person,
    parameters: { scope: `openid ${scopesOf(jwtApi)}`, resource: jwtApi.identifier },
  });
  keep('code for an API', forApi.code);
  const apiTokens = await redeem(issuer, client, forApi.code, forApi.verifier, { resource: jwtApi.identifier });
  const jwt = keep('JWT access token', apiTokens.body.access_token);
  await introspect(issuer, client, jwt);

  // Rotation, and a code that nobody redeemed.
  const publicIssued = await codeFor(issuer, publicClient, credentials, { person, parameters });
  const publicTokens = (await redeem(issuer, publicClient, publicIssued.code, publicIssued.verifier)).body;
  keep('refresh token that rotates', publicTokens.refresh_token);
  const rotatedTokens = (await refresh(issuer, publicClient, String(publicTokens.refresh_token))).body;
  keep('rotated refresh token', rotatedTokens.refresh_token);
  keep('code left over', (await codeFor(issuer, client, credentials, { person })).code);

  // Machines.
  keep('opaque service token', await serviceToken(issuer, service, { resource: opaqueApi.identifier }));
  keep('JWT service token', await serviceToken(issuer, service, { resource: jwtApi.identifier }));
  const revoked = keep('revoked token', await serviceToken(issuer, service, { resource: opaqueApi.identifier }));
  await revoke(issuer, service, revoked);
  await assertionToken(server, scopesOf(opaqueApi), opaqueApi.identifier, keep);
  await boundToken(issuer, service, opaqueApi.identifier, keep);
  await apiKeys(server, { accountId: account.id, service, apis: [jwtApi, opaqueApi] }, keep);

  await pushedRequests(server, client, keep);
  await devices(server, person, credentials, keep);
  await registrations(server, keep);

  // A service that takes a person along, from one format to the other.
  const gateway = await createServiceClient(domains, `${scopesOf(jwtApi)} ${scopesOf(opaqueApi)}`, {
    mayIntrospectAny: true,
    metadata: { grant_types: ['client_credentials', TOKEN_EXCHANGE] },
  });
  keep('gateway secret', gateway.secret);
  const ofGateway = keep('token of a gateway', await serviceToken(issuer, gateway, { resource: opaqueApi.identifier }));
  for (const [subject, resource] of [
    [ofGateway, opaqueApi.identifier],
    [jwt, jwtApi.identifier],
  ] as const) {
    const { body } = await exchange(issuer, gateway, subject, { resource });
    const exchanged = keep(`exchanged token for ${resource}`, body.access_token);
    const again = await exchange(issuer, gateway, exchanged, { resource });
    keep(`token for ${resource} that was exchanged again`, again.body.access_token);
  }

  // Left pending: a sign-out that waits for its button, a sign-in that waits for its password.
  await person.open(`${issuer}/logout?${new URLSearchParams({ id_token_hint: idToken, client_id: client.id })}`);
  const waiting = new Person();
  const { url } = await waiting.open(
    authorizationRequest(issuer, client.id, { id_token_hint: idToken, prompt: 'login' }).url,
  );
  keep('interaction uid', new URL(url).pathname.split('/')[2]);
  for (const [who, jar] of Object.entries({ person, waiting })) {
    for (const [name, value] of Object.entries(jar.cookies())) {
      // This one only names the app that the browser came from.
      if (!name.startsWith('tessera_client')) keep(`${who} cookie ${name}`, value);
    }
  }
  return {
    secrets,
    client,
    publicClient,
    service,
    account: { id: account.id, login, password },
    person,
    accessToken,
    jwt,
  };
}

/** A token by `private_key_jwt`, whose assertion is a secret while it lives. */
async function assertionToken(
  { issuer, domains }: TestServer,
  scope: string,
  resource: string,
  keep: (name: string, value: unknown) => string,
): Promise<void> {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kty: 'EC', alg: 'ES256', use: 'sig' };
  const kid = await calculateJwkThumbprint(jwk);
  const client = await createServiceClient(domains, scope, {
    metadata: { token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [{ ...jwk, kid }] } },
  });
  const assertion = await new SignJWT({})
    .setProtectedHeader({ alg: 'ES256', kid })
    .setIssuer(client.id)
    .setSubject(client.id)
    .setAudience(issuer)
    .setJti(randomBytes(16).toString('hex'))
    .setIssuedAt()
    .setExpirationTime('1m')
    .sign(privateKey);
  const { body } = await post(`${issuer}/token`, undefined, {
    grant_type: 'client_credentials',
    client_assertion_type: ASSERTION_TYPE,
    client_assertion: keep('client assertion', assertion),
    resource,
  });
  keep('token by assertion', body.access_token);
}

/** A token bound to a key (RFC 9449): with the proof in hand a thief could make no use of it, and it is kept all the same. */
async function boundToken(
  issuer: string,
  service: TestClient,
  resource: string,
  keep: (name: string, value: unknown) => string,
): Promise<void> {
  const keys = await makeProofKeyPair();
  const htu = `${issuer}/token`;
  const refused = keep('DPoP proof without a nonce', await proofOf(keys, { htu }));
  const { nonce } = await requestWithProof(issuer, service, refused, { resource });
  const proof = keep('DPoP proof', await proofOf(keys, { htu, nonce }));
  keep('bound token', (await requestWithProof(issuer, service, proof, { resource })).body.access_token);
}

/** A pushed request that nobody has used, with hints in it, and one that waits at its pages. */
async function pushedRequests(
  { issuer }: TestServer,
  client: TestClient,
  keep: (name: string, value: unknown) => string,
): Promise<void> {
  for (const which of ['that nobody has used', 'that waits for a sign-in']) {
    const { requestUri } = await push(issuer, client, { request: undefined, login_hint: 'somebody@example.com' });
    keep(`pushed request ${which}`, requestUri.split(':').at(-1));
    if (which !== 'that nobody has used') await new Person().open(pushedUrl(issuer, client.id, requestUri));
  }
}

/** A client that registered itself with a token of an operator, and manages itself. */
async function registrations(
  { issuer, domains }: TestServer,
  keep: (name: string, value: unknown) => string,
): Promise<void> {
  const made = await domains.registrationTokens.create({ policies: [] });
  const token = keep('registration token', made.ok ? made.value : undefined);
  const client = await register(issuer, {}, token);
  keep('secret of a client that registered itself', client.secret);
  keep('token that manages a client', client.token);
  const body = { ...WEB_APP, client_id: client.id, client_secret: client.secret };
  const changed = await send('PUT', client.uri, { token: client.token, body });
  keep('next token that manages a client', changed.body.registration_access_token);
}

/** A device that was connected, one that a person has just begun with, and one whose code nobody has typed in. */
async function devices(
  { issuer, domains }: TestServer,
  person: Person,
  credentials: { login: string; password: string },
  keep: (name: string, value: unknown) => string,
): Promise<void> {
  const client = await createDeviceClient(domains);
  const codesOf = async (which: string) => {
    const codes = await askForCodes(issuer, client, { scope: 'openid offline_access' });
    keep(`device code ${which}`, codes.device_code);
    keep(`user code ${which}`, codes.user_code);
    keep(`user code ${which} without its dash`, codes.user_code.replace('-', ''));
    return codes;
  };
  const connected = await codesOf('of a connected device');
  await poll(issuer, client, connected.device_code);
  await connectDevice(issuer, person, connected.user_code, credentials);
  const { body } = await poll(issuer, client, connected.device_code);
  keep('access token of a device', body.access_token);
  keep('refresh token of a device', body.refresh_token);
  const begun = await codesOf('of a device that waits for consent');
  const waiting = new Person();
  const page = await enterCode(issuer, waiting, begun.user_code);
  keep('secret of a device form', /name="xsrf" value="([^"]*)"/.exec(page.html)?.[1]);
  const { url } = await waiting.submit(page, { confirm: 'yes' }, '/device');
  keep('interaction uid of a device', new URL(url).pathname.split('/')[2]);
  const left = await codesOf('left over');
  await new Person().open(left.verification_uri_complete);
}

/** Keys of a person and of a service in every place where one may be sent, and one that was rolled. */
async function apiKeys(
  { issuer, domains }: TestServer,
  owners: { accountId: string; service: TestClient; apis: readonly Api[] },
  keep: (name: string, value: unknown) => string,
): Promise<void> {
  const { accountId, service, apis } = owners;
  const terms = {
    scopes: apis.flatMap(({ scopes }) => scopes.map(({ scope }) => scope)),
    apis: apis.map(({ identifier }) => identifier),
  };
  const keepKey = (name: string, key: string) => {
    keep(name, key);
    return { key, ...asClient(key), secret: keep(`secret of ${name}`, asClient(key).secret) };
  };
  for (const [name, owner] of [
    ['API key of a person', { kind: 'account', accountId }],
    ['API key of a service', { kind: 'client', clientId: service.id }],
  ] as const) {
    const created = await createTestApiKey(domains, { owner, ...terms, quota: { requests: 50, windowSeconds: 3_600 } });
    const key = keepKey(name, created.key);
    for (const { identifier: resource } of apis) {
      keep(`token by Basic with ${name} for ${resource}`, await serviceToken(issuer, key, { resource }));
      const { body } = await tokenByBearer(issuer, `Bearer ${key.key}`, { resource });
      keep(`token by bearer with ${name} for ${resource}`, body.access_token);
    }
    await introspect(issuer, key, key.key);
    await userinfo(issuer, key.key);
    const rolled = await domains.apiKeys.roll(created.apiKey.id);
    if (!rolled.ok) throw new Error(rolled.reason);
    await revoke(issuer, keepKey(`${name}, rolled`, rolled.key), key.key);
  }
  await domains.apiKeys.flush();
}

/** Signs in from a new browser. @returns where the app is called back */
export function signInAgain(issuer: string, run: WholeRun, person = new Person()): Promise<URL> {
  return authorize(person, authorizationRequest(issuer, run.client.id), run.account);
}
