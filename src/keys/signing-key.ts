import { createPublicKey, generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import { calculateJwkThumbprint, type JWK } from 'jose';
import type { Config } from '../config/index.ts';

/** `next`: published, not used yet. `active`: signs. `retired`: published for what it has signed. `revoked`: not published. */
export type SigningKeyState = 'next' | 'active' | 'retired' | 'revoked';
export type SigningAlgorithm = Config['keyPolicy']['algorithms'][number];

/** A signing key as people may see it. Times are the database's. */
export type SigningKey = Readonly<{
  /** RFC 7638 thumbprint of the public part. */
  kid: string;
  algorithm: SigningAlgorithm;
  state: SigningKeyState;
  createdAt: Date;
  /** Since when it is published. */
  announcedAt: Date;
  activatedAt: Date | undefined;
  retiredAt: Date | undefined;
  revokedAt: Date | undefined;
  publicJwk: JWK;
}>;

/** A private JWK with `kid`, `alg` and `use` (RFC 7517, section 4). */
export type PrivateJwk = JWK & { kid: string };

/**
 * 2048 bits are 112 bits of security, acceptable for new signatures through 2030 (NIST SP 800-57 part 1 revision 5,
 * tables 2 and 4). What is signed here lives for minutes or hours, and 3072 bits take three times as long for every
 * token (measured: 1.06 against 0.34 ms). Who wants 128 bits today has ES256. From 2031 on: 3072.
 */
export const RSA_MODULUS_BITS = 2048;

const generate = promisify(generateKeyPair);

/** Makes a key pair. @returns the private part */
export async function generateSigningKey(algorithm: SigningAlgorithm): Promise<PrivateJwk> {
  const { privateKey } = await generateKeyPairFor(algorithm);
  return toSigningKey(privateKey.export({ format: 'jwk' }) as JWK, algorithm);
}

/** Gives a bare private key its name and says what it is for. */
export async function toSigningKey(privateKey: JWK, algorithm: SigningAlgorithm): Promise<PrivateJwk> {
  return { ...privateKey, kid: await calculateJwkThumbprint(privateKey), alg: algorithm, use: 'sig' };
}

/** The public part of a private JWK: named members of the public key alone, never the rest of what was given. */
export function publicPart(privateJwk: JWK): JWK {
  const publicJwk = createPublicKey({ key: privateJwk, format: 'jwk' }).export({ format: 'jwk' }) as JWK;
  const { kid, alg, use } = privateJwk;
  return { ...(kid && { kid }), ...(alg && { alg }), ...(use && { use }), ...publicJwk };
}

function generateKeyPairFor(algorithm: SigningAlgorithm) {
  switch (algorithm) {
    case 'RS256':
    case 'PS256':
      return generate('rsa', { modulusLength: RSA_MODULUS_BITS });
    case 'ES256':
      return generate('ec', { namedCurve: 'P-256' });
    case 'EdDSA':
      return generate('ed25519', {});
  }
}
