import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readDocument } from '../harness/documents.ts';
import { openReader, type Reader } from '../harness/reader.ts';

let reader: Reader;
beforeAll(async () => {
  reader = await openReader();
});
afterAll(() => reader?.close());

test('the commands of docs/token-exchange.md print what stands below them', async () => {
  const done = await reader.follow(readDocument('docs/token-exchange.md'));
  expect(done.length).toBeGreaterThan(3);
  for (const { shown, printed } of done) expect(printed).toMatch(shown);
}, 120_000);
