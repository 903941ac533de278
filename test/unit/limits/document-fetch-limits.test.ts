import { describe, expect, test } from '@jest/globals';
import { createDocumentFetchLimits } from '../../../src/limits/index.ts';

const HOST = 'agent.example.com';

async function takeAll(limits: ReturnType<typeof createDocumentFetchLimits>, of: (index: number) => [string, string?]) {
  const taken: boolean[] = [];
  for (let index = 0; index < 40; index += 1) {
    const [host, from] = of(index);
    taken.push(await limits.take(host, from));
  }
  return taken.filter(Boolean).length;
}

describe('documents of clients are fetched in a minute', () => {
  test('20 times for one address, whatever hosts it names', async () => {
    const limits = createDocumentFetchLimits();
    expect(await takeAll(limits, (index) => [`host${index}.example`, '192.0.2.1'])).toBe(20);
    expect(await limits.take(HOST, '192.0.2.2')).toBe(true);
  });

  test('20 times for a network of IPv6, as one subscriber has all of it', async () => {
    const limits = createDocumentFetchLimits();
    expect(await takeAll(limits, (index) => [`host${index}.example`, `2001:db8:1:2::${index + 1}`])).toBe(20);
  });

  test('20 times for nobody in particular', async () => {
    expect(await takeAll(createDocumentFetchLimits(), (index) => [`host${index}.example`])).toBe(20);
  });

  test('30 times from one host, whoever asks, and whoever may not ask takes nothing of them', async () => {
    const limits = createDocumentFetchLimits();
    expect(await takeAll(limits, () => [HOST, '192.0.2.1'])).toBe(20);
    expect(await takeAll(limits, (index) => [HOST, `198.51.100.${index}`])).toBe(10);
    expect(await limits.take('other.example', '203.0.113.1')).toBe(true);
  });
});
