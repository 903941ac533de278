import { expect, test } from '@jest/globals';
import { toLines, toTable } from '../../../src/cli/answer.ts';

test('a record is one aligned line per member, without those that are absent', () => {
  const record = { id: 'a', redirect_uris: ['x', 'y'], name: undefined, apis: [], at: new Date(0), claims: { a: 1 } };
  expect(toLines(record).split('\n')).toEqual([
    'id             a',
    'redirect_uris  x y',
    'apis           -',
    'at             1970-01-01T00:00:00.000Z',
    'claims         {"a":1}',
  ]);
});

test('records are a table below their names, and none are none', () => {
  const rows = [
    { id: 'long-id', name: undefined },
    { id: 'b', name: 'B' },
  ];
  expect(toTable(['id', 'name'], rows)).toBe('ID       NAME\nlong-id  -\nb        B');
  expect(toTable(['id'], [])).toBe('none');
});
