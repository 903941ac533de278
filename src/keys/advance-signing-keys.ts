import {
  changeSigningKeys,
  type KeyChange,
  type KeyDependencies,
  makeSigningKey,
  readKeysAt,
} from './change-signing-keys.ts';
import { type DueStep, dueSteps } from './key-policy.ts';
import type { NewSigningKey } from './signing-key-store.ts';

/**
 * Does whatever of the keys' life cycle is due. Any number of nodes may do so at once: each looks, makes what is wanted
 * outside the transaction, and looks again inside; who comes second finds nothing to do and throws its own away.
 *
 * @param isWanted leaves steps out
 */
export async function advanceSigningKeys(
  dependencies: KeyDependencies,
  isWanted: (step: DueStep) => boolean = () => true,
): Promise<void> {
  const planned = dueSteps(dependencies.policy, await readKeysAt(dependencies)).filter(isWanted);
  if (planned.length === 0) return;
  const algorithms = planned.filter((step) => step.do === 'make').map(({ algorithm }) => algorithm);
  const made = await Promise.all(algorithms.map((algorithm) => makeSigningKey(dependencies, algorithm)));
  await changeSigningKeys(dependencies, async (change) => {
    for (const step of dueSteps(dependencies.policy, change).filter(isWanted)) await take(step, change, made);
  });
}

/** What has become due only since it was planned waits for the next time. */
async function take(step: DueStep, change: KeyChange, made: readonly NewSigningKey[]): Promise<void> {
  if (step.do === 'make') {
    const key = made.find(({ algorithm }) => algorithm === step.algorithm);
    return key && change.add(key, step.isUrgent ? 'active' : 'next');
  }
  const key = change.keys.find(({ kid }) => kid === step.kid);
  return key && change[step.do](key);
}
