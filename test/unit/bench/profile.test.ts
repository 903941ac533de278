import { expect, test } from '@jest/globals';
import { summarize } from '../../../bench/profile.ts';

test('a profile is summed up by package and function, without the time in which there was nothing to do', () => {
  const frame = (id: number, functionName: string, url: string) => ({
    id,
    callFrame: { functionName, url, lineNumber: 1 },
  });
  const profile = {
    nodes: [
      frame(1, '(root)', ''),
      frame(2, '(idle)', ''),
      frame(3, '(garbage collector)', ''),
      frame(4, 'sign', 'file:///somewhere/node_modules/jose/dist/sign.js'),
      frame(5, 'parse', 'file:///somewhere/node_modules/pg/node_modules/@scope/pg-protocol/parse.js'),
      frame(6, 'submit', 'file:///somewhere/src/tokens/batching.ts'),
      frame(7, '', 'node:net'),
    ],
    samples: [2, 3, 4, 4, 5, 6, 7],
    timeDeltas: [1_000, 10, 20, 20, 30, 15, 5],
  };
  const { packages, functions } = summarize(profile);
  expect(packages).toEqual([
    { name: 'jose', share: 0.4 },
    { name: '@scope/pg-protocol', share: 0.3 },
    { name: 'src/tokens', share: 0.15 },
    { name: 'garbage collector', share: 0.1 },
    { name: 'node', share: 0.05 },
  ]);
  expect(functions[0]).toEqual({ name: 'sign (jose)', share: 0.4 });
  expect(functions.at(-1)).toEqual({ name: '(anonymous) (node)', share: 0.05 });
});
