import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import type { JWK } from 'jose';
import { RSA_MODULUS_BITS, type SigningAlgorithm } from './signing-key.ts';

/** A bare private key that was found to be whole, and what it is to sign with; or why it won't do. */
export type KeyMaterial =
  | Readonly<{ ok: true; privateKey: JWK; algorithm: SigningAlgorithm }>
  | Readonly<{ ok: false; reason: string }>;

/** By the type of a key; the first is the one where nobody says which. */
const ALGORITHMS: Readonly<Record<string, readonly SigningAlgorithm[]>> = {
  rsa: ['RS256', 'PS256'],
  'ec P-256': ['ES256'],
  ed25519: ['EdDSA'],
};

/** FIPS 186-5, section 5.4: 2^16 < e < 2^256, and odd, as any that has an inverse is. */
const LEAST_RSA_EXPONENT = 65_537n;
const RSA_EXPONENT_BOUND = 2n ** 256n;

/**
 * Reads one private key: PEM (PKCS #8, PKCS #1 or SEC 1), a JWK, or a JWKS with one key in it.
 *
 * @param wantedAlgorithm absent: what the JWK says, else by the type of the key
 */
export function readKeyMaterial(text: string, wantedAlgorithm?: string): KeyMaterial {
  const read = text.trimStart().startsWith('{') ? readJson(text) : readPem(text);
  if ('reason' in read) return refuse(read.reason);
  const { key, alg } = read;
  const type = typeOf(key);
  const possible = ALGORITHMS[type];
  if (possible === undefined) return refuse(`wants an RSA, P-256 or Ed25519 key, not ${type}`);
  if ((key.asymmetricKeyDetails?.modulusLength ?? RSA_MODULUS_BITS) < RSA_MODULUS_BITS) {
    return refuse(`wants an RSA key of at least ${RSA_MODULUS_BITS} bits`);
  }
  const { publicExponent = LEAST_RSA_EXPONENT } = key.asymmetricKeyDetails ?? {};
  if (publicExponent < LEAST_RSA_EXPONENT || publicExponent >= RSA_EXPONENT_BOUND) {
    return refuse(`wants an RSA key whose public exponent is at least ${LEAST_RSA_EXPONENT}, and below 2^256`);
  }
  const named = wantedAlgorithm ?? alg ?? possible[0];
  const algorithm = possible.find((candidate) => candidate === named);
  if (algorithm === undefined) return refuse(`a key of this type signs with ${possible.join(' or ')}, not ${named}`);
  if (!isWhole(key)) return refuse(NOT_WHOLE.reason);
  return { ok: true, privateKey: key.export({ format: 'jwk' }) as JWK, algorithm };
}

const NOT_WHOLE = { reason: 'its public and private parts belong to different keys' };

type Read = { key: KeyObject; alg: string | undefined } | { reason: string };

function readJson(text: string): Read {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Not the parser's own message: it quotes the text.
    return { reason: 'is not JSON' };
  }
  const { keys } = value as { keys?: unknown };
  if (Array.isArray(keys) && keys.length !== 1) return { reason: `wants one key, not ${keys.length}` };
  const jwk = (Array.isArray(keys) ? keys[0] : value) as JWK | null;
  if (typeof jwk !== 'object' || jwk === null) return { reason: 'holds no key' };
  if (jwk.kty === 'oct') return { reason: 'wants a private key, not a shared secret' };
  if (jwk.d === undefined) return { reason: 'wants a private key: this one is public' };
  if (jwk.use !== undefined && jwk.use !== 'sig') return { reason: 'wants a key for signatures: its use is another' };
  try {
    const key = createPrivateKey({ key: jwk, format: 'jwk' });
    // Node derives this one from the private part, whatever it says.
    return jwk.kty === 'OKP' && key.export({ format: 'jwk' }).x !== jwk.x ? NOT_WHOLE : { key, alg: jwk.alg };
  } catch {
    return { reason: 'holds no private key that is understood' };
  }
}

function readPem(text: string): Read {
  if (/-----BEGIN (ENCRYPTED |[^-]*\r?\n-----BEGIN )|^Proc-Type: 4,ENCRYPTED/m.test(text)) {
    return { reason: 'is encrypted: decrypt it first, such as with openssl pkey' };
  }
  if (/-----BEGIN (RSA )?PUBLIC KEY-----|-----BEGIN CERTIFICATE-----/.test(text) && !/PRIVATE KEY-----/.test(text)) {
    return { reason: 'wants a private key: this one is public' };
  }
  try {
    return { key: createPrivateKey(text), alg: undefined };
  } catch {
    return { reason: 'holds no private key in PEM, JWK or JWKS' };
  }
}

const CURVES: Readonly<Record<string, string>> = { prime256v1: 'P-256' };

function typeOf(key: KeyObject): string {
  const type = key.asymmetricKeyType ?? 'of an unknown type';
  const curve = key.asymmetricKeyDetails?.namedCurve;
  return curve === undefined ? type : `${type} ${CURVES[curve] ?? curve}`;
}

/** What it signs is good under the public part that it names: a JWK says both. */
function isWhole(key: KeyObject): boolean {
  const probe = Buffer.from('tessera');
  const digest = key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  try {
    return verify(digest, probe, createPublicKey(key), sign(digest, probe, key));
  } catch {
    return false;
  }
}

function refuse(reason: string): KeyMaterial {
  return { ok: false, reason };
}
