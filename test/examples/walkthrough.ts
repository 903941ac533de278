import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { openTestDatabase } from '../harness/database.ts';
import { type Block, blocksIn, pattern, RUNS, readDocument, runInOrder, SAVED } from '../harness/documents.ts';
import { CHECKOUT, freePort, startServerProcess } from '../harness/process.ts';
import { readersEnvironment, withoutBuilds } from './example-program.ts';

/** The address of Tessera in the documents, which may be taken while the tests run. */
const ISSUER = 'http://localhost:3000';
/** The ports of the reader's own programs in the documents. */
const PORTS = /\b400\d\b/g;
const LIMIT_MS = 600_000;

/**
 * Walks through a document as a reader would who copies and pastes: saves each block that is marked `<!-- saved as NAME -->`
 * in the folder that the commands have gone to by then, runs those marked `<!-- runs -->` in one shell, and compares what they
 * print with the block `text` or `json` below, where there is one (`…` stands for anything within a line). The shell
 * begins in a folder with all of examples/ in it; Tessera is a fresh one in development.
 *
 * A block whose last line ends with `&` leaves a program running; the next one begins when that listens on the port 400…
 * of its `PORT`.
 *
 * @param path within the checkout
 */
export function walkthrough(path: string): void {
  test(
    `${path} shows what happens`,
    async () => {
      const base = mkdtempSync(join(tmpdir(), 'tessera-walkthrough-'));
      const folder = join(base, 'tessera');
      mkdirSync(folder);
      cpSync(join(CHECKOUT, 'examples'), join(folder, 'examples'), { recursive: true, filter: withoutBuilds });
      const database = await openTestDatabase({ isMigrated: false });
      const environment = { DATABASE_URL: database.url, DATA_DIR: join(base, '.data'), NODE_ENV: 'development' };
      const server = await startServerProcess({ dataDirectory: environment.DATA_DIR, environment });
      try {
        await server.ready();
        const document = readDocument(path).replaceAll(ISSUER, server.address);
        const ports = new Map<string, string>();
        for (const [port] of document.matchAll(PORTS)) ports.set(port, ports.get(port) ?? String(await freePort()));
        const text = document.replaceAll(PORTS, (port) => ports.get(port) ?? port);
        const steps = blocksIn(text).filter(({ mark }) => mark !== '');
        const printed = await runInOrder(steps.map(commandOf), {
          folder,
          environment: { ...readersEnvironment(), ...environment, PORT: String(server.port) },
        });
        expect(steps.length).toBeGreaterThan(2);
        for (const [index, { output }] of steps.entries()) {
          if (output !== '') expect(printed[index]?.replaceAll('\r', '')).toMatch(pattern(output));
        }
      } finally {
        await server.stop();
        await database.close();
        rmSync(base, { recursive: true, force: true });
      }
    },
    LIMIT_MS,
  );
}

function commandOf({ mark, body }: Block): string {
  if (mark.startsWith(SAVED)) {
    const end = 'END OF WHAT IS SAVED';
    return `cat > ${mark.slice(SAVED.length)} <<'${end}'\n${body}\n${end}`;
  }
  if (mark !== RUNS) throw new Error(`no such mark: ${mark}`);
  if (!body.endsWith('&')) return body;
  const port = /\bPORT=(\d+)/.exec(body)?.[1];
  if (port === undefined) throw new Error(`no PORT to wait for: ${body}`);
  return `${body}\nuntil (: < /dev/tcp/127.0.0.1/${port}) 2> /dev/null; do kill -0 $!; sleep 0.1; done`;
}
