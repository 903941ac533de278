import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import {
  formatApiKey,
  generateApiKeyId,
  generateApiKeySecret,
  parseApiKey,
} from '../../../src/api-keys/api-key-value.ts';

const page = readFileSync(new URL('../../../docs/api-keys.md', import.meta.url), 'utf8');

/** The first block of that language. */
function blockIn(language: string): string {
  return new RegExp(`\`\`\`${language}\\n([^]*?)\\n\`\`\``).exec(page)?.[1] ?? '';
}

function freshKey(): string {
  const id = generateApiKeyId();
  return formatApiKey({ id, secret: generateApiKeySecret(id) });
}

test('the key in the documentation is one', () => {
  expect(parseApiKey(blockIn('text'))).toBeDefined();
});

test('the documented regular expression finds keys, and nothing that is longer', () => {
  const expression = new RegExp(blockIn('regex'), 'g');
  const [one, two] = [freshKey(), freshKey()];
  expect(`KEY=${one}; curl -H "Authorization: Bearer ${two}"`.match(expression)).toEqual([one, two]);
  expect(`${one}0`.match(expression)).toBeNull();
});

test('the documented code knows keys with a right checksum from others', () => {
  const keys = Array.from({ length: 50 }, freshKey);
  const wrong = keys.map((key) =>
    key.replace(/.(.{6})$/, (_, checksum) => `${key.at(-7) === '0' ? '1' : '0'}${checksum}`),
  );
  const program = `${blockIn('js')}
    const verdicts = JSON.parse(process.argv[1]).map(hasRightChecksum);
    process.stdout.write(JSON.stringify(verdicts));`;
  const args = ['--input-type=module', '-e', program, JSON.stringify([...keys, ...wrong])];
  expect(JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }))).toEqual([
    ...keys.map(() => true),
    ...wrong.map(() => false),
  ]);
});
