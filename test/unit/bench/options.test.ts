import { describe, expect, test } from '@jest/globals';
import { GROUPS, readOptions } from '../../../bench/options.ts';

describe('the options of the bench', () => {
  test('measure everything, in seven rounds at least, quick or not', () => {
    for (const args of [[], ['--quick']]) {
      const options = readOptions(args);
      expect(options?.groups).toEqual(GROUPS);
      expect(options?.rounds).toBeGreaterThanOrEqual(7);
    }
  });

  test('name the groups and sizes that are wanted', () => {
    expect(readOptions(['--only', 'rows', '--only', 'jwt', '--rows', '10000000', '--json', 'out.json'])).toMatchObject({
      groups: ['rows', 'jwt'],
      rows: 10_000_000,
      jsonFile: 'out.json',
    });
  });

  test('that make no sense are refused', () => {
    for (const args of [
      ['--only', 'nothing'],
      ['--rounds', 'x'],
      ['--rounds', '7.5'],
      ['--rows', '0'],
      ['--unknown'],
    ]) {
      expect(() => readOptions(args)).toThrow();
    }
  });
});
