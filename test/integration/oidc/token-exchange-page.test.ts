import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { type Block, blocksIn, pattern, RUNS, readDocument, runInOrder } from '../../harness/documents.ts';
import { CHECKOUT, type ServerProcess, startServerProcess } from '../../harness/process.ts';

const page = readDocument('docs/token-exchange.md');

let database: TestDatabase;
let server: ServerProcess;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tessera-token-exchange-'));
  database = await openTestDatabase({ isMigrated: false });
  server = await startServerProcess({
    dataDirectory: join(folder, '.data'),
    environment: { DATABASE_URL: database.url, NODE_ENV: 'development' },
  });
  await server.ready();
});
afterAll(async () => {
  await server?.stop();
  await database?.close();
  rmSync(folder, { recursive: true, force: true });
});

test('the commands of docs/token-exchange.md print what stands below them', async () => {
  const blocks: Block[] = blocksIn(page.replaceAll('http://localhost:3000', server.address));
  const commands = blocks.filter(({ mark }) => mark === RUNS);
  expect(commands.length).toBeGreaterThan(3);
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

test('every file that it names is there', () => {
  const links = [...page.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, path = '']) => path);
  expect(links.filter((path) => !existsSync(join(CHECKOUT, 'docs', path)))).toEqual([]);
});
