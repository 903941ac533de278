import { createHash, randomBytes } from 'node:crypto';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { basicOf, type Client } from './token-requests.ts';

export type ProofKeyPair = Awaited<ReturnType<typeof makeProofKeyPair>>;
export const makeProofKeyPair = () => generateKeyPair('ES256', { extractable: true });

/** A proof as a client makes it by hand (RFC 9449, section 4.2); of a POST unless told otherwise. */
export async function proofOf(
  { publicKey, privateKey }: ProofKeyPair,
  claims: { htu: string; htm?: string; nonce?: string | undefined; accessToken?: string; jti?: string },
): Promise<string> {
  const { accessToken, jti = randomBytes(12).toString('hex'), ...rest } = claims;
  const ath = accessToken && createHash('sha256').update(accessToken).digest('base64url');
  return new SignJWT({ htm: 'POST', ...rest, ...(ath && { ath }) })
    .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: await exportJWK(publicKey) })
    .setIssuedAt()
    .setJti(jti)
    .sign(privateKey);
}

/** Client credentials with a proof. @param address of a node; the issuer, where it is the only one */
export async function requestWithProof(
  address: string,
  client: Client,
  proof: string,
  parameters: Record<string, string> = {},
) {
  const response = await fetch(`${address}/token`, {
    method: 'POST',
    headers: { dpop: proof, authorization: basicOf(client) },
    body: new URLSearchParams({ grant_type: 'client_credentials', ...parameters }),
  });
  const body = (await response.json()) as Record<string, unknown>;
  return { status: response.status, body, nonce: response.headers.get('dpop-nonce') ?? undefined };
}
