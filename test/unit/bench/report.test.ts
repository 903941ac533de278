import { describe, expect, test } from '@jest/globals';
import type { Row } from '../../../bench/comparisons.ts';
import { intoDocument, succeeds, toJson, toMarkdown, toTable } from '../../../bench/report.ts';

const row: Row = {
  row: 'introspection (ceiling)',
  ratio: 0.951,
  low: 0.93,
  high: 0.97,
  goal: 0.9,
  atMost: false,
  ours: '4918/s',
  peer: '4527/s',
  failures: 0,
};

describe('a row of the result', () => {
  test('fails for one wrong answer, whatever its ratio', () => {
    expect(succeeds(row)).toBe(true);
    expect(succeeds({ ...row, failures: 1 })).toBe(false);
    expect(toTable([{ ...row, failures: 1 }])).toContain('FAIL: 1 wrong answers');
  });

  test('fails for what is held against it besides its ratio, and says so', () => {
    const late = { ...row, objection: 'a million rows would take 70 s' };
    expect(succeeds(late)).toBe(false);
    expect(toTable([late])).toContain('FAIL: a million rows would take 70 s');
  });

  test('is written for programs with nothing but its verdict', () => {
    const { ours, peer, failures, ...verdict } = row;
    expect(JSON.parse(toJson([row]))).toEqual([verdict]);
  });

  test('shows its ratio, interval and goal', () => {
    expect(toMarkdown([row]).split('\n').at(-1)).toBe(
      '| introspection (ceiling) | 4918/s | 4527/s | 0.95 [0.93, 0.97] | ≥ 0.9 | pass |',
    );
  });
});

test('figures take the place of those before them in a document, and nothing else', () => {
  const document = '# Speed\n\n<!-- figures -->\nold\n\nolder\n<!-- /figures -->\n\nthe end\n';
  const expected = '# Speed\n\n<!-- figures -->\nnew $1\n<!-- /figures -->\n\nthe end\n';
  expect(intoDocument(document, 'new $1')).toBe(expected);
  expect(intoDocument('no place', 'new')).toBe('new\n');
  expect(intoDocument(undefined, 'new')).toBe('new\n');
});
