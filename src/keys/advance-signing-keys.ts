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
 * outside the transaction, and looks again inside; who comes second finds nothing to do and throws its own away. What needs
 * no new key comes first, in a transaction of its own: it is done even while nobody can seal one.
 *
 * @param isWanted leaves steps out
 * @throws what the wrapper throws, when a key that is due can't be made
 */
export async function advanceSigningKeys(
  dependencies: KeyDependencies,
  isWanted: (step: DueStep) => boolean = () => true,
): Promise<void> {
  const planned = dueSteps(dependencies.policy, await readKeysAt(dependencies)).filter(isWanted);
  if (planned.some((step) => !isMaking(step))) {
    await takeDue(dependencies, (step) => isWanted(step) && !isMaking(step));
  }
  const algorithms = planned.filter(isMaking).map(({ algorithm }) => algorithm);
  if (algorithms.length === 0) return;
  const made = await Promise.all(algorithms.map((algorithm) => makeSigningKey(dependencies, algorithm)));
  await takeDue(dependencies, (step) => isWanted(step) && isMaking(step), made);
}

function isMaking(step: DueStep): step is Extract<DueStep, { do: 'make' }> {
  return step.do === 'make';
}

async function takeDue(
  dependencies: KeyDependencies,
  isWanted: (step: DueStep) => boolean,
  made: readonly NewSigningKey[] = [],
): Promise<void> {
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
