/**
 * Runs the tests of the examples: `npm run test:examples`, or of some, `npm run test:examples -- --only express,koa`. What
 * else stands on the command line is Jest's. Where a toolchain is missing it fails before anything has begun, as a green
 * run that left a stack out would say too much.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';

const FOLDER = fileURLToPath(new URL('.', import.meta.url));
const CHECKOUT = join(FOLDER, '../..');

/** Programs that an example wants besides Node and npm. */
const TOOLCHAINS: Readonly<Record<string, readonly string[]>> = { flask: ['python3'], 'spring-boot': ['java', 'mvn'] };

function isOnPath(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function chosenExamples(only: string | undefined): string[] {
  const names = readdirSync(FOLDER).flatMap((file) => /^(.+)\.test\.ts$/.exec(file)?.[1] ?? []);
  if (only === undefined) return names;
  const chosen = only.split(',').map((name) => name.trim());
  const unknown = chosen.filter((name) => !names.includes(name));
  if (unknown.length > 0) fail(`--only: there is no example ${unknown.join(', ')}; there are ${names.join(', ')}`);
  return chosen;
}

function fail(line: string): never {
  process.stderr.write(`${line}\n`);
  process.exit(1);
}

const program = new Command('test:examples')
  .option('--only <names>', 'examples, comma separated')
  .allowUnknownOption()
  .allowExcessArguments()
  .parse();
const { only } = program.opts<{ only?: string }>();
const examples = chosenExamples(only);
const missing = examples.flatMap((example) =>
  (TOOLCHAINS[example] ?? []).filter((program) => !isOnPath(program)).map((program) => ({ example, program })),
);
if (missing.length > 0) {
  const able = examples.filter((name) => !missing.some(({ example }) => example === name));
  const wants = missing.map(({ example, program }) => `examples/${example} wants ${program}, which is not on the PATH`);
  fail(`${wants.join('\n')}\nWithout: npm run test:examples -- --only ${able.join(',')}`);
}
const { status } = spawnSync(
  process.execPath,
  [
    '--experimental-vm-modules',
    '--disable-warning=ExperimentalWarning',
    'node_modules/jest/bin/jest.js',
    '--config',
    'test/examples/jest.config.js',
    '--runTestsByPath',
    ...examples.map((name) => `test/examples/${name}.test.ts`),
    ...program.args,
  ],
  { cwd: CHECKOUT, stdio: 'inherit' },
);
process.exit(status ?? 1);
