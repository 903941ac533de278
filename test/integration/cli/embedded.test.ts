import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { composeDomains, type Domains, openEnvironmentDatabase } from '../../../src/compose/index.ts';
import { loadConfig } from '../../../src/config/index.ts';
import { silentLogger } from '../../harness/loggers.ts';
import { createCommandLine } from './command-line.ts';

let DATA_DIR: string;
beforeAll(async () => {
  DATA_DIR = await mkdtemp(join(tmpdir(), 'tessera cli '));
});
afterAll(() => rm(DATA_DIR, { recursive: true }));

async function startServerSide(environment: Record<string, string>): Promise<Domains> {
  const config = loadConfig(environment);
  const opened = await openEnvironmentDatabase(config, silentLogger);
  return composeDomains(config, { logger: silentLogger, opened, actor: { kind: 'system' } });
}

test('the embedded database is reached whether a server has it open or not', async () => {
  const environment = { DATA_DIR };
  const tessera = createCommandLine(environment);
  expect(await tessera.json(['client', 'list'])).toEqual([]);

  const server = await startServerSide(environment);
  try {
    await tessera.json(['client', 'create', '--id', 'beside', '--grant', 'client_credentials']);
    expect((await server.clients.find('beside'))?.id).toBe('beside');
  } finally {
    await server.close();
  }

  expect(await tessera.json(['client', 'show', 'beside'])).toMatchObject({ client_id: 'beside' });
});
