import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type CryptoKey, exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { type DocumentHost, startDocumentHost } from '../../harness/document-host.ts';
import { askToRegister, register, send, WEB_APP } from '../../harness/registration.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';

const KNOWN = 'https://directory.example.com';
const REMOTE = 'https://remote-directory.example.com';

let server: TestServer;
let plain: TestServer;
let host: DocumentHost;
let key: CryptoKey;
let otherKey: CryptoKey;

beforeAll(async () => {
  host = await startDocumentHost();
  const [ours, others] = [await generateKeyPair('ES256'), await generateKeyPair('ES256')];
  key = ours.privateKey;
  otherKey = others.privateKey;
  const jwks = { keys: [{ ...(await exportJWK(ours.publicKey)), kty: 'EC' }] };
  const jwksUri = host.serve('/keys', jwks);
  const environment = { REGISTRATION: 'open', REGISTRATIONS_PER_ADDRESS: '100000' };
  server = await startTestServer({
    environment: {
      ...environment,
      SOFTWARE_STATEMENT_ISSUERS: JSON.stringify([
        { issuer: KNOWN, jwks },
        { issuer: REMOTE, jwks_uri: jwksUri },
      ]),
    },
  });
  plain = await startTestServer({ environment });
});
afterAll(async () => {
  await plain?.close();
  await server?.close();
  await host?.close();
});

function statement(claims: JWTPayload = {}, by: CryptoKey = key): Promise<string> {
  return new SignJWT({ iss: KNOWN, software_id: 'app-1', client_name: 'Vouched App', ...claims })
    .setProtectedHeader({ alg: 'ES256' })
    .setIssuedAt(claims.iat)
    .sign(by);
}

async function refusal(value: unknown, issuer = server.issuer) {
  const { status, body } = await askToRegister(issuer, { software_statement: value });
  return { status, error: body.error };
}

const INVALID = { status: 400, error: 'invalid_software_statement' };
const UNAPPROVED = { status: 400, error: 'unapproved_software_statement' };
const now = () => Math.floor(Date.now() / 1_000);

describe('a software statement (RFC 7591, section 2.3)', () => {
  test.each([KNOWN, REMOTE])('of %s says more than the client does, and is answered as it came', async (iss) => {
    const software_statement = await statement({ iss });
    const { body } = await register(server.issuer, {
      client_name: 'Tessera',
      software_version: '2',
      software_statement,
    });
    expect(body).toMatchObject({
      client_name: 'Vouched App',
      software_id: 'app-1',
      software_version: '2',
      software_statement,
    });
  });

  test('of somebody who is not known is not approved, nor is any where nobody is', async () => {
    expect(await refusal(await statement({ iss: 'https://evil.example.com' }))).toEqual(UNAPPROVED);
    expect(await refusal(await statement(), plain.issuer)).toEqual(UNAPPROVED);
  });

  test('that somebody else signed is invalid, and one that nobody did', async () => {
    expect(await refusal(await statement({}, otherKey))).toEqual(INVALID);
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    expect(await refusal(`${encode({ alg: 'none' })}.${encode({ iss: KNOWN })}.`)).toEqual(INVALID);
    expect(await refusal('no JWT')).toEqual(INVALID);
    expect(await refusal(42)).toEqual(INVALID);
  });

  test('that is over, not yet true, or for others is invalid', async () => {
    expect(await refusal(await statement({ exp: now() - 60 }))).toEqual(INVALID);
    expect(await refusal(await statement({ iat: now() + 600 }))).toEqual(INVALID);
    expect(await refusal(await statement({ nbf: now() + 600 }))).toEqual(INVALID);
    expect(await refusal(await statement({ aud: 'https://other.example.com' }))).toEqual(INVALID);
    expect(await refusal(await statement({ aud: server.issuer }))).toEqual({ status: 201, error: undefined });
  });

  test('lets a client be no more than others may', async () => {
    const claims = { grant_types: ['client_credentials'], response_types: [], redirect_uris: [], require_pkce: false };
    const { status, body } = await askToRegister(server.issuer, { software_statement: await statement(claims) });
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_client_metadata' });
  });

  test('holds when the client changes what it says of itself, and can not be taken for another', async () => {
    const client = await register(server.issuer, { software_statement: await statement() });
    const body = { ...WEB_APP, client_id: client.id, client_name: 'Another' };
    const changed = await send('PUT', client.uri, { token: client.token, body });
    expect(changed.body).toMatchObject({
      client_name: 'Vouched App',
      software_statement: client.body.software_statement,
    });
    const other = await send('PUT', client.uri, {
      token: String(changed.body.registration_access_token),
      body: { ...body, software_statement: await statement({ software_id: 'app-2' }) },
    });
    expect({ status: other.status, error: other.body.error }).toEqual(INVALID);
  });
});
