import { spawn } from 'node:child_process';
import { existsSync, globSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { defaults, developmentDefaults, productionDefaults } from '../../config/defaults.ts';
import { environmentSchema } from '../../src/config/config-schema.ts';
import { demoSignIn } from '../../src/playground/index.ts';
import { type Block, blocksIn, pattern, RUNS, readDocument, SAVED } from '../harness/documents.ts';
import { authorize } from '../harness/flows.ts';
import { Person } from '../harness/person.ts';
import { CHECKOUT, freePort } from '../harness/process.ts';
import { openReader, type Reader } from '../harness/reader.ts';
import { until } from '../harness/until.ts';

/** Where the README's app listens, which may be taken while the tests run. */
const README_APP_PORT = '4000';
const DOCUMENTS = globSync(['*.md', 'docs/**/*.md', 'examples/*/README.md'], { cwd: CHECKOUT });

const readme = readDocument('README.md');

describe('what the README shows', () => {
  let reader: Reader;
  let appPort: string;
  /** The README with the addresses of this run. */
  let document: string;
  let blocks: Block[];

  beforeAll(async () => {
    reader = await openReader();
    appPort = String(await freePort());
    document = reader
      .adapt(readme)
      .replaceAll(`127.0.0.1:${README_APP_PORT}`, `127.0.0.1:${appPort}`)
      .replaceAll(`listen(${README_APP_PORT},`, `listen(${appPort},`);
    blocks = blocksIn(document);
  });
  afterAll(() => reader?.close());

  test('its commands print on a fresh start what stands below them', async () => {
    for (const { shown, printed } of await reader.follow(document)) expect(printed).toMatch(shown);
  }, 120_000);

  test('its app signs a person in, who sees what stands below it', async () => {
    const at = blocks.findIndex(({ mark }) => mark.startsWith(SAVED));
    const app = blocks[at];
    const name = app?.mark.slice(SAVED.length) ?? '';
    const start = blocks.slice(at).find(({ language }) => language === 'sh');
    expect(start?.body).toBe(`node ${name}`);
    writeFileSync(join(reader.folder, name), app?.body ?? '');
    symlinkSync(join(CHECKOUT, 'node_modules'), join(reader.folder, 'node_modules'));
    const child = spawn(process.execPath, [name], { cwd: reader.folder, stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (chunk) => {
      said += chunk;
    });
    try {
      await until('the app listens', () => said === `open http://127.0.0.1:${appPort}/\n`);
      const person = new Person();
      const { email: login, password } = demoSignIn;
      const back = await authorize(person, await person.open(`http://127.0.0.1:${appPort}/`), { login, password });
      const shown = await (await fetch(back)).text();
      expect(shown.trimEnd()).toBe(start?.output);
    } finally {
      child.kill();
    }
  });

  test('its log ends with what stands below the first command', () => {
    const shown = blocks[0]?.output.split('\n') ?? [];
    expect(shown).toHaveLength(2);
    // Each line has its time in front.
    const written = reader.server.output().trimEnd().split('\n');
    for (const line of shown)
      expect(written).toContainEqual(expect.stringMatching(new RegExp(`\\] ${pattern(line).source.slice(1)}`)));
  });

  test('its first page has the button and the account that it names', async () => {
    const page = await (await fetch(reader.server.address, { headers: { accept: 'text/html' } })).text();
    const button = /Choose \*\*(.+?)\*\*/.exec(readme)?.[1] ?? '';
    expect(page).toMatch(new RegExp(`<button[^>]*>\\s*${button}\\s*</button>`));
    expect(readme).toContain(`| \`${demoSignIn.email}\` | \`${demoSignIn.password}\` |`);
  });
});

describe('the README', () => {
  test('runs every command that it shows of the command line and of curl', () => {
    const shells = blocksIn(readme).filter(({ language }) => language === 'sh');
    const unchecked = shells.filter(({ mark, body }) => mark !== RUNS && /\bcurl\b|npx --no/.test(body));
    expect(unchecked).toEqual([]);
    expect(shells.filter(({ mark }) => mark === RUNS).length).toBeGreaterThan(5);
  });

  test('lists every setting once, in the order of .env.example', () => {
    const inExample = [...readDocument('.env.example').matchAll(/^(?:# )?([A-Z][A-Z0-9_]*)=/gm)].map(
      ([, name]) => name,
    );
    expect(settings().map(({ name }) => name)).toEqual(inExample);
    expect(new Set(inExample)).toEqual(new Set(Object.keys(environmentSchema.shape)));
  });

  test('gives every setting its default', () => {
    const always: Record<string, string> = { NODE_ENV: 'development', ...defaults };
    const inDevelopment: Record<string, string> = developmentDefaults;
    const inProduction: Record<string, string> = productionDefaults;
    for (const { name, value } of settings()) {
      const constant = always[name];
      if (constant !== undefined) {
        expect({ name, value }).toEqual({ name, value: constant === '' ? 'none' : `\`${constant}\`` });
      } else if (inDevelopment[name] !== undefined) {
        const production = inProduction[name] === undefined ? 'none' : `\`${inProduction[name]}\``;
        const both = `\`${inDevelopment[name]}\`; in production ${production}`;
        expect({ name, value }).toEqual({ name, value: both });
      } else {
        expect({ name, value }).toEqual({ name, value: expect.stringMatching(/[a-z]{4,}/) });
      }
    }
  });

  test('says what is required in production', () => {
    const required = settings().filter(({ value }) => value.endsWith('; required in production'));
    expect(required.map(({ name }) => name)).toEqual(['ISSUER', 'DATABASE_URL', 'KEY_ENCRYPTION_KEY']);
  });

  test('starts Docker Compose as docker-compose.yml itself says', () => {
    const compose = blocksIn(readme).find(({ body }) => body.includes('docker compose up'));
    const inFile = readDocument('docker-compose.yml')
      .split('\n')
      .map((line) => line.replace(/^# */, ''));
    const [write = '', ...rest] = (compose?.body ?? '').replaceAll('\\\n  ', '\\\n').split('\n');
    expect(inFile).toEqual(expect.arrayContaining([write, ...rest.slice(0, -1)]));
  });
});

describe('the documents', () => {
  test.each(DOCUMENTS)('every file that %s names is there', (document) => {
    const text = readDocument(document);
    const named = [...text.matchAll(/`((?:src|config|migrations|test|views|docs|deploy|examples|bench)\/[\w./-]+)`/g)]
      .map(([, path = '']) => path)
      .filter((path) => !text.includes(`<!-- ${SAVED}${path} -->`));
    expect(named.filter((path) => !isThere(path, document))).toEqual([]);
  });

  test('name every metric, with what to watch for', () => {
    const code = globSync('src/telemetry/*.ts', { cwd: CHECKOUT }).map(readDocument).join('\n');
    const names = [...code.matchAll(/name: '(tessera_\w+)'/g)].map(([, name = '']) => name);
    const table = [...readDocument('docs/operations.md').matchAll(/^\| `(tessera_\w+)`/gm)].map(
      ([, name = '']) => name,
    );
    expect(names.length).toBeGreaterThan(10);
    expect(table.toSorted()).toEqual(names.toSorted());
  });

  test.each(DOCUMENTS)('every link of %s leads to something', (document) => {
    const links = [...readDocument(document).matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)];
    const broken = links.filter(([, path = '', anchor]) => {
      const target = path === '' ? document : join(dirname(document), path);
      if (!existsSync(join(CHECKOUT, target))) return true;
      return anchor !== undefined && !anchorsIn(readDocument(target)).includes(anchor);
    });
    expect(broken.map(([link]) => link)).toEqual([]);
  });
});

/** A test may be named without its ending; a guide and the README of an example name the files of that example, too. */
function isThere(path: string, document: string): boolean {
  const example = document.startsWith('docs/guides/') ? join('examples', basename(document, '.md')) : dirname(document);
  return [path, `${path}.test.ts`, join(example, path)].some((place) => existsSync(join(CHECKOUT, place)));
}

/** What a heading is called by in links, as GitHub makes it. */
function anchorsIn(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

type Setting = { name: string; value: string };

function settings(): Setting[] {
  const section = readme.split('\n## Configuration\n')[1]?.split('\n## ')[0] ?? '';
  return [...section.matchAll(/^\| `([A-Z][A-Z0-9_]*)` \| (.*?) \| \S.* \|$/gm)].map(([, name = '', value = '']) => {
    return { name, value };
  });
}
