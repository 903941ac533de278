import { changeSigningKeys, type KeyDependencies, readKeysAt, sealNewKey } from './change-signing-keys.ts';
import { activationOf, pairOf } from './key-policy.ts';
import { readKeyMaterial } from './read-key-material.ts';
import { type KeyRefusal, notOffered, rotatingAlgorithms } from './rotate-signing-keys.ts';
import { type SigningAlgorithm, toSigningKey } from './signing-key.ts';

export type Import =
  | Readonly<{
      ok: true;
      kid: string;
      algorithm: SigningAlgorithm;
      /** The key that was announced before, and is gone now. */
      replacedKid: string | undefined;
      /** When it signs by itself. */
      signsFrom: Date | undefined;
    }>
  | KeyRefusal;

/**
 * Announces a key that was made elsewhere, in the place of the one that was announced, which never signed. It is named by
 * its thumbprint, whatever name it had: so one that was revoked never comes back, while one that was removed after its
 * retirement, and is known no more, may.
 *
 * @param text PEM, a JWK, or a JWKS with one key in it
 */
export async function importSigningKey(
  dependencies: KeyDependencies,
  text: string,
  options: { algorithm?: string | undefined },
): Promise<Import> {
  const material = readKeyMaterial(text, options.algorithm);
  if (!material.ok) return { ok: false, code: 'invalid_key', reason: material.reason };
  const { algorithm } = material;
  const known = rotatingAlgorithms(dependencies, (await readKeysAt(dependencies)).keys);
  if (!known.includes(algorithm)) return notOffered(algorithm, known);
  const privateJwk = await toSigningKey(material.privateKey, algorithm);
  const { kid } = privateJwk;
  const sealed = await sealNewKey(dependencies, privateJwk, algorithm);

  return changeSigningKeys(dependencies, async (change): Promise<Import> => {
    const same = change.keys.find((key) => key.kid === kid);
    if (same !== undefined)
      return { ok: false, code: 'conflict', reason: `the key ${kid} is here already: it is ${same.state}` };
    const { next } = pairOf(change.keys, algorithm);
    if (next !== undefined) await change.remove(next);
    await change.add(sealed, 'next', 'imported');
    const { policy } = dependencies;
    return {
      ok: true,
      kid,
      algorithm,
      replacedKid: next?.kid,
      signsFrom: activationOf(policy, pairOf(change.keys, algorithm).active, change.now),
    };
  });
}
