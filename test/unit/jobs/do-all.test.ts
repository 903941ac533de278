import { expect, test } from '@jest/globals';
import { doAll } from '../../../src/jobs/index.ts';

const fails = (message: string) => async () => {
  throw new Error(message);
};

test('each work is done, whichever of the others fails, and what failed is told', async () => {
  const done: string[] = [];
  const works = [fails('Vault is silent'), async () => void done.push('second'), async () => void done.push('third')];
  await expect(doAll(works)).rejects.toThrow(/^Vault is silent$/);
  expect(done).toEqual(['second', 'third']);
});

test('of several that fail none is lost', async () => {
  const failing = doAll([fails('the first'), async () => undefined, fails('the last')]);
  await expect(failing).rejects.toMatchObject({
    message: 'Error: the first; Error: the last',
    errors: [new Error('the first'), new Error('the last')],
  });
});

test('where none fails there is nothing to tell', async () => {
  await expect(doAll([async () => undefined])).resolves.toBeUndefined();
});
