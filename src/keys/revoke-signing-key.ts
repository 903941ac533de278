import { changeSigningKeys, type KeyDependencies, makeSigningKey, readKeysAt } from './change-signing-keys.ts';
import { announcementSecondsLeft, describeWait, pairOf } from './key-policy.ts';
import { announceMissingKeys, type KeyRefusal } from './rotate-signing-keys.ts';
import type { SigningAlgorithm } from './signing-key.ts';

export type Revocation =
  | Readonly<{
      ok: true;
      kid: string;
      algorithm: SigningAlgorithm;
      /** What signs by its algorithm now; undefined where that is nothing. */
      signingKid: string | undefined;
    }>
  | KeyRefusal;

/**
 * Takes a key away from /jwks, for good; its private part is destroyed. What it signed is not valid any more. The place of
 * the key that signs is taken by the announced one.
 *
 * @param options.now the one that signs goes even where the announced key is too young; where there is none, one that
 *   nobody has seen yet signs at once, as a key in wrong hands must not stay until it was seen
 */
export async function revokeSigningKey(
  dependencies: KeyDependencies,
  kid: string,
  options: { now?: boolean | undefined },
): Promise<Revocation> {
  const { keys } = await readKeysAt(dependencies);
  const found = keys.find((key) => key.kid === kid);
  if (found === undefined) return unknownKey(kid);
  const isKept = found.state === 'active' && options.now !== true;
  const announced = isKept ? await announceMissingKeys(dependencies, [found.algorithm]) : [];
  // A key that doesn't sign leaves without another one, and so without whatever wraps keys.
  const needsNew = found.state === 'active' && pairOf(keys, found.algorithm).next === undefined && options.now === true;
  const spare = needsNew ? await makeSigningKey(dependencies, found.algorithm) : undefined;

  return changeSigningKeys(dependencies, async (change): Promise<Revocation> => {
    const key = change.keys.find((it) => it.kid === kid);
    if (key === undefined) return unknownKey(kid);
    const { algorithm } = key;
    const { active, next } = pairOf(change.keys, algorithm);
    if (key.state !== 'active') {
      if (key.state !== 'revoked') await change.revoke(key);
      return { ok: true, kid, algorithm, signingKid: active?.kid };
    }
    const secondsLeft = announcementSecondsLeft(dependencies.policy, next, change.now);
    if (options.now !== true && secondsLeft > 0) {
      const follower = announced.length === 0 ? 'the announced key' : 'the key that was announced just now';
      const wait = describeWait(secondsLeft, change.now);
      const reason = `${kid} signs, and ${follower} may take its place in ${wait}; --now lets it do so at once`;
      return { ok: false, code: 'too_early', reason, secondsLeft };
    }
    if (next === undefined && spare === undefined) return replaced(kid);
    await change.revoke(key);
    if (next !== undefined) await change.promote(next);
    else if (spare !== undefined) await change.add(spare, 'active');
    return { ok: true, kid, algorithm, signingKid: next?.kid ?? spare?.kid };
  });
}

function unknownKey(kid: string): KeyRefusal {
  return { ok: false, code: 'not_found', reason: `there is no signing key ${kid}` };
}

/** The announced key was there when it was looked for, and is not any more. */
function replaced(kid: string): KeyRefusal {
  const reason = `the keys were changed at the same time and ${kid} was left as it is: try again`;
  return { ok: false, code: 'conflict', reason };
}
