import type { Configuration, KoaContextWithOIDC } from 'oidc-provider';
import type { SigningAlgorithm } from '../keys/index.ts';

type Features = NonNullable<Configuration['features']>;
type Algorithms = NonNullable<Configuration['enabledJWA']>;

/** For whom a client's public key is enough: what would be keyed with its secret can't be, as only a digest of that is kept. */
const KEY_MANAGEMENT = ['RSA-OAEP', 'RSA-OAEP-256', 'ECDH-ES'] as const;

/** Answers that may come signed or encrypted: ID tokens, userinfo, responses of authorization requests, introspection (RFC 9701). */
export const answerFeatures: Pick<Features, 'encryption' | 'jwtUserinfo' | 'jwtIntrospection'> = {
  encryption: { enabled: true },
  jwtUserinfo: { enabled: true },
  jwtIntrospection: { enabled: true },
};

/**
 * In what each kind of answer may be signed and encrypted. Two things are not: request objects, as the server has no key to
 * open them with, and introspection, which is between two servers over TLS.
 *
 * @param signing those that there is a key for that signs: one that is only announced must not, nor may a client ask for it
 */
export function answerAlgorithms(signing: readonly SigningAlgorithm[]): Algorithms {
  return {
    idTokenSigningAlgValues: [...signing],
    userinfoSigningAlgValues: [...signing],
    introspectionSigningAlgValues: [...signing],
    authorizationSigningAlgValues: [...signing],
    idTokenEncryptionAlgValues: [...KEY_MANAGEMENT],
    userinfoEncryptionAlgValues: [...KEY_MANAGEMENT],
    authorizationEncryptionAlgValues: [...KEY_MANAGEMENT],
    requestObjectEncryptionAlgValues: [],
    introspectionEncryptionAlgValues: [],
  };
}

/** Takes out of discovery how what is not offered encrypted would be: the library lists the contents' encryption all the same. */
export async function hideUnofferedEncryption(
  context: KoaContextWithOIDC,
  next: () => Promise<unknown>,
): Promise<void> {
  await next();
  if (context.oidc?.route !== 'discovery') return;
  const offered = Object.entries(context.body as Record<string, unknown>).filter(
    ([name]) => !/^(request_object|introspection)_encryption_/.test(name),
  );
  context.body = Object.fromEntries(offered);
}
