/** Somebody who does what a document tells them to. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openTestDatabase } from './database.ts';
import { blocksIn, pattern, RUNS, runInOrder } from './documents.ts';
import { type ServerProcess, startServerProcess } from './process.ts';

/** The address of the server in all documents, which may be taken while the tests run. */
const DOCUMENTED_ADDRESS = 'http://localhost:3000';

export type Reader = Readonly<{
  /** In development, on a fresh database. */
  server: ServerProcess;
  folder: string;
  /** The document as it is for this server. */
  adapt(document: string): string;
  /**
   * Does the commands of a document in their order.
   *
   * @returns for each what stands below it, and what it has printed
   */
  follow(document: string): Promise<{ shown: RegExp; printed: string }[]>;
  close(): Promise<void>;
}>;

export async function openReader(): Promise<Reader> {
  const folder = mkdtempSync(join(tmpdir(), 'tessera-reader-'));
  const dataDirectory = join(folder, '.data');
  const database = await openTestDatabase({ isMigrated: false });
  const settings = { DATABASE_URL: database.url, NODE_ENV: 'development' };
  const server = await startServerProcess({ dataDirectory, environment: settings });
  const environment = { ...settings, DATA_DIR: dataDirectory, PORT: String(server.port) };
  const adapt = (document: string) => document.replaceAll(DOCUMENTED_ADDRESS, server.address);

  async function close(): Promise<void> {
    await server.stop();
    await database.close();
    rmSync(folder, { recursive: true, force: true });
  }

  try {
    await server.ready();
  } catch (error) {
    await close();
    throw error;
  }
  return Object.freeze({
    server,
    folder,
    adapt,
    async follow(document: string) {
      const commands = blocksIn(adapt(document)).filter(({ mark }) => mark === RUNS);
      const printed = await runInOrder(
        commands.map(({ body }) => body),
        { folder, environment },
      );
      return commands.map(({ output }, index) => ({ shown: pattern(output), printed: printed[index] ?? '' }));
    },
    close,
  });
}
