import { type AccessToken, type ClientCredentials, errors, type JWK, type JWTStructured } from 'oidc-provider';

/** What a JWT may measure, and what it is signed with. */
export type ClaimBudget = Readonly<{
  maxBytes: number;
  /** Of each algorithm the one that signs stands first. */
  signingKeys: readonly JWK[];
}>;

/** Signatures of a fixed length (RFC 7518, section 3.4; RFC 8037, section 3.1); an RSA one is as long as its key. */
const SIGNATURE_BYTES: Readonly<Record<string, number>> = { ES256: 64, EdDSA: 64, Ed25519: 64 };

/** The answer where a token would be cut off, or its request refused, by a proxy on the way to the API. */
class TokenTooLarge extends errors.OIDCProviderError {
  constructor(token: AccessToken | ClientCredentials, bytes: number, maxBytes: number) {
    super(500, 'server_error');
    this.expose = true;
    this.error_description =
      `the access token would have ${bytes} bytes, more than the ${maxBytes} that go safely through proxies: ` +
      'ask for fewer scopes, take roles away, or have the API registered for opaque tokens';
    // For the log, where this is an error with its cause: who has to be looked at, and nothing of what the token says.
    this.cause = new Error(
      `a JWT for client ${token.clientId} and API ${String(token.aud)} would have ${bytes} bytes, over ${maxBytes}`,
    );
  }
}

/**
 * Refuses a JWT that is too large, before it is signed and so before it counts as issued.
 *
 * @throws {errors.OIDCProviderError} `server_error` (500), which says what to do about it
 */
export function keepWithinBudget(
  token: AccessToken | ClientCredentials,
  jwt: JWTStructured,
  { maxBytes, signingKeys }: ClaimBudget,
): void {
  const sign = token.resourceServer?.jwt?.sign;
  const bytes = signedBytes(jwt, sign ? sign.alg : undefined, signingKeys);
  if (bytes > maxBytes) throw new TokenTooLarge(token, bytes, maxBytes);
}

/** The length of the compact serialization (RFC 7515, section 7.1) that the library makes of it. */
function signedBytes({ header, payload }: JWTStructured, alg: string | undefined, keys: readonly JWK[]): number {
  const key = keys.find((candidate) => candidate.alg === alg);
  const signature = SIGNATURE_BYTES[alg ?? ''] ?? Buffer.byteLength(key?.n ?? '', 'base64url');
  const protectedHeader = JSON.stringify({ alg, typ: 'at+jwt', kid: key?.kid, ...header });
  const parts = [Buffer.byteLength(protectedHeader), Buffer.byteLength(JSON.stringify(payload)), signature];
  return parts.reduce((sum, bytes) => sum + Math.ceil((bytes * 4) / 3), parts.length - 1);
}
