import { spawn } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { defaults, developmentDefaults, productionDefaults } from '../../config/defaults.ts';
import { environmentSchema } from '../../src/config/config-schema.ts';
import { demoSignIn } from '../../src/playground/index.ts';
import { openTestDatabase, type TestDatabase } from '../harness/database.ts';
import { type Block, blocksIn, pattern, RUNS, readDocument, runInOrder, SAVED } from '../harness/documents.ts';
import { authorize } from '../harness/flows.ts';
import { Person } from '../harness/person.ts';
import { CHECKOUT, freePort, type ServerProcess, startServerProcess } from '../harness/process.ts';
import { until } from '../harness/until.ts';

/** The addresses that the README uses, which may be taken while the tests run. */
const README_ISSUER = 'http://localhost:3000';
const README_APP_PORT = '4000';
const DOCUMENTS = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'docs/architecture.md', 'docs/operations.md'];
const GUIDES = globSync(
  ['docs/{api-keys,choosing-tokens,service-clients}.md', 'docs/guides/*.md', 'examples/*/README.md'],
  {
    cwd: CHECKOUT,
  },
);

const readme = readDocument('README.md');

describe('what the README shows', () => {
  let database: TestDatabase;
  let server: ServerProcess;
  let folder: string;
  let appPort: string;
  /** The README with the addresses of this run. */
  let blocks: Block[];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tessera-readme-'));
    database = await openTestDatabase({ isMigrated: false });
    server = await startServerProcess({
      dataDirectory: join(folder, '.data'),
      environment: { DATABASE_URL: database.url, NODE_ENV: 'development' },
    });
    appPort = String(await freePort());
    blocks = blocksIn(
      readme
        .replaceAll(README_ISSUER, server.address)
        .replaceAll(`127.0.0.1:${README_APP_PORT}`, `127.0.0.1:${appPort}`)
        .replaceAll(`listen(${README_APP_PORT},`, `listen(${appPort},`),
    );
    await server.ready();
  });
  afterAll(async () => {
    await server?.stop();
    await database?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test('its commands print on a fresh start what stands below them', async () => {
    const commands = blocks.filter(({ mark }) => mark === RUNS);
    const printed = await runInOrder(
      commands.map(({ body }) => body),
      {
        folder,
        environment: {
          DATABASE_URL: database.url,
          DATA_DIR: join(folder, '.data'),
          PORT: String(server.port),
          NODE_ENV: 'development',
        },
      },
    );
    for (const [index, { output }] of commands.entries()) expect(printed[index]).toMatch(pattern(output));
  }, 120_000);

  test('its app signs a person in, who sees what stands below it', async () => {
    const at = blocks.findIndex(({ mark }) => mark.startsWith(SAVED));
    const app = blocks[at];
    const name = app?.mark.slice(SAVED.length) ?? '';
    const start = blocks.slice(at).find(({ language }) => language === 'sh');
    expect(start?.body).toBe(`node ${name}`);
    writeFileSync(join(folder, name), app?.body ?? '');
    symlinkSync(join(CHECKOUT, 'node_modules'), join(folder, 'node_modules'));
    const child = spawn(process.execPath, [name], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
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
    const written = server.output().trimEnd().split('\n');
    for (const line of shown)
      expect(written).toContainEqual(expect.stringMatching(new RegExp(`\\] ${pattern(line).source.slice(1)}`)));
  });

  test('its first page has the button and the account that it names', async () => {
    const page = await (await fetch(server.address, { headers: { accept: 'text/html' } })).text();
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
    const named = [
      ...readDocument(document).matchAll(/`((?:src|config|migrations|test|views|docs|deploy)\/[\w./-]+)`/g),
    ].map(([, path = '']) => path);
    expect(named.filter((path) => !existsSync(join(CHECKOUT, path)))).toEqual([]);
  });

  test.each([...DOCUMENTS, ...GUIDES])('every link of %s leads to something', (document) => {
    const links = [...readDocument(document).matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)];
    const broken = links.filter(([, path = '', anchor]) => {
      const target = path === '' ? document : join(dirname(document), path);
      if (!existsSync(join(CHECKOUT, target))) return true;
      return anchor !== undefined && !anchorsIn(readDocument(target)).includes(anchor);
    });
    expect(broken.map(([link]) => link)).toEqual([]);
  });
});

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
