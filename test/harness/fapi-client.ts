import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import type { NewClient } from '../../src/clients/index.ts';
import type { Domains } from '../../src/compose/index.ts';
import { makeProofKeyPair, type ProofKeyPair, proofOf } from './dpop.ts';
import { createTestClient, REDIRECT_URI, unique } from './factories.ts';
import { authorizationRequest } from './flows.ts';
import type { Answer } from './token-requests.ts';

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

export type FapiClient = {
  id: string;
  alg: string;
  privateKey: Awaited<ReturnType<typeof generateKeyPair>>['privateKey'];
  /** Of its proofs of possession. */
  proofKey: ProofKeyPair;
};

/** A client of FAPI 2.0 that authenticates by `private_key_jwt` and has tokens bound by DPoP, unless told otherwise. */
export async function createFapiClient(
  domains: Domains,
  metadata: Partial<NewClient['metadata']> = {},
  alg = 'ES256',
): Promise<FapiClient> {
  const pair = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(pair.publicKey)), kid: unique('kid'), alg, use: 'sig' } as { kty: string };
  const { id } = await createTestClient(domains, {
    metadata: {
      profile: 'fapi2-security',
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [jwk] },
      ...metadata,
    },
  });
  return { id, alg, privateKey: pair.privateKey, proofKey: await makeProofKeyPair() };
}

/** A JWT of the client; a claim that is set to undefined is left out. */
export function signedBy(
  client: Pick<FapiClient, 'alg' | 'privateKey'>,
  claims: Record<string, unknown>,
  header: Record<string, unknown> = {},
): Promise<string> {
  const payload = Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined)) as JWTPayload;
  return new SignJWT(payload).setProtectedHeader({ alg: client.alg, ...header }).sign(client.privateKey);
}

/** What authenticates the client in a form. */
export async function assertionOf(
  client: FapiClient,
  issuer: string,
  claims: Record<string, unknown> = {},
): Promise<Record<string, string>> {
  const now = Math.floor(Date.now() / 1_000);
  const all = { iss: client.id, sub: client.id, aud: issuer, jti: unique('jti'), iat: now, exp: now + 60, ...claims };
  return { client_assertion_type: ASSERTION_TYPE, client_assertion: await signedBy(client, all) };
}

async function send(url: string, parameters: Record<string, string>, proof?: string): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { accept: 'application/json', ...(proof && { dpop: proof }) },
    body: new URLSearchParams(parameters),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? {} : JSON.parse(text), headers: response.headers };
}

/** Pushes a request. @param parameters further ones; one that is set to undefined is left out */
export async function pushAs(
  client: FapiClient,
  issuer: string,
  parameters: Record<string, string | undefined> = {},
  options: { claims?: Record<string, unknown>; proof?: string } = {},
) {
  const { url, ...request } = authorizationRequest(issuer, client.id, parameters);
  const form = {
    ...Object.fromEntries(new URL(url).searchParams),
    ...(await assertionOf(client, issuer, options.claims)),
  };
  const answer = await send(`${issuer}/par`, form, options.proof);
  return { ...answer, ...request, requestUri: String(answer.body.request_uri) };
}

/** A request to the token endpoint with a fresh assertion and a fresh proof, which gets its nonce by a first refusal. */
export async function askAs(
  client: FapiClient,
  issuer: string,
  parameters: Record<string, string>,
  options: { claims?: Record<string, unknown>; proofKey?: ProofKeyPair; proof?: string; withoutProof?: boolean } = {},
): Promise<Answer> {
  const htu = `${issuer}/token`;
  const key = options.proofKey ?? client.proofKey;
  const once = async (proof: string | undefined) =>
    send(htu, { ...parameters, ...(await assertionOf(client, issuer, options.claims)) }, proof);
  if (options.withoutProof === true || options.proof !== undefined) return once(options.proof);
  const first = await once(await proofOf(key, { htu }));
  const nonce = first.headers.get('dpop-nonce') ?? undefined;
  return first.body.error === 'use_dpop_nonce' ? once(await proofOf(key, { htu, nonce })) : first;
}

export function redeemAs(
  client: FapiClient,
  issuer: string,
  request: { code: string; verifier: string },
  options: Parameters<typeof askAs>[3] = {},
): Promise<Answer> {
  const { code, verifier } = request;
  const parameters = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: REDIRECT_URI };
  return askAs(client, issuer, parameters, options);
}
