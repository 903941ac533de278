import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { defaults, developmentDefaults, productionDefaults } from '../../config/defaults.ts';
import { environmentSchema } from '../../src/config/config-schema.ts';

type Entry = { name: string; value: string; isCommentedOut: boolean; about: string };

const lines = readFileSync(join(import.meta.dirname, '../../.env.example'), 'utf8').split('\n');
const entries = lines.flatMap((line, index): Entry[] => {
  const match = /^(# )?([A-Z][A-Z0-9_]*)=(.*)$/.exec(line);
  if (match === null) return [];
  const [, comment, name = '', value = ''] = match;
  return [{ name, value, isCommentedOut: comment !== undefined, about: lines[index - 1] ?? '' }];
});
const always: Record<string, string> = { NODE_ENV: 'development', ...defaults };
const inDevelopment: Record<string, string> = developmentDefaults;
const inProduction: Record<string, string> = productionDefaults;

describe('.env.example', () => {
  test('names every setting, each once, and nothing else', () => {
    expect(entries.map(({ name }) => name).sort()).toEqual(Object.keys(environmentSchema.shape).sort());
  });

  test('a default that always holds is shown as it is', () => {
    const shown = entries.filter(({ isCommentedOut }) => !isCommentedOut);
    expect(Object.fromEntries(shown.map(({ name, value }) => [name, value]))).toEqual(always);
  });

  test('what has no default, or another one in production, is commented out', () => {
    const commentedOut = entries.filter(({ isCommentedOut }) => isCommentedOut);
    for (const { name, value, about } of commentedOut) {
      expect({ name, value }).toEqual({ name, value: inDevelopment[name] ?? '' });
      const production = inProduction[name];
      if (production !== undefined) expect(about).toContain(`(default in production: ${production})`);
    }
  });

  test('every setting is explained in one line above it', () => {
    for (const { name, about } of entries)
      expect({ name, about }).toEqual({ name, about: expect.stringMatching(/^# \S.{9,}\.?$/) });
  });

  test('its values are accepted as they stand', () => {
    const values = Object.fromEntries(
      entries.filter(({ value }) => value !== '').map(({ name, value }) => [name, value]),
    );
    expect(environmentSchema.safeParse({ ...always, ...values }).error).toBeUndefined();
  });
});
