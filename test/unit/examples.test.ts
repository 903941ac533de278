import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { CHECKOUT } from '../harness/process.ts';

const EXAMPLES = readdirSync(join(CHECKOUT, 'examples'), { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? entry.name : [],
);

function read(path: string): string {
  return readFileSync(join(CHECKOUT, path), 'utf8');
}

describe('examples', () => {
  test.each(EXAMPLES)('%s has a README, a guide and a test', (name) => {
    const wanted = [`examples/${name}/README.md`, `docs/guides/${name}.md`, `test/examples/${name}.test.ts`];
    expect(wanted.filter((path) => !existsSync(join(CHECKOUT, path)))).toEqual([]);
  });

  test('no lock file says where packages come from: everybody has a registry of their own', () => {
    const locks = globSync('examples/*/package-lock.json', { cwd: CHECKOUT });
    expect(locks.length).toBeGreaterThan(0);
    expect(locks.filter((path) => read(path).includes('"resolved"'))).toEqual([]);
  });

  test.each(['access-tokens.js', 'bearer.js', 'resource-metadata.js', 'settings.js'])(
    'Express and Koa have the same %s',
    (file) => {
      expect(read(`examples/koa/${file}`)).toBe(read(`examples/express/${file}`));
    },
  );
});
