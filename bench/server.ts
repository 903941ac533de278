/** One server under test: the whole of Tessera as composed for production, on one adapter or another. */
import { createServer } from 'node:http';
import { Session } from 'node:inspector/promises';
import type { AddressInfo } from 'node:net';
import { composeDomains, composeServer } from '../src/compose/index.ts';
import { loadConfig } from '../src/config/index.ts';
import { openDatabase } from '../src/database/index.ts';
import { sweepInBatches } from '../src/jobs/index.ts';
import { createLogger } from '../src/telemetry/index.ts';
import { sweepExpiredArtifacts } from '../src/tokens/index.ts';
import { answerParent } from './calls.ts';
import { createKnexAdapter } from './knex-adapter.ts';
import { createMapAdapter } from './map-adapter.ts';
import { accessToken, grant, type Owners } from './seeded-artifacts.ts';

export type AdapterName = 'tessera' | 'map' | 'knex';

const adapterName = process.env.BENCH_ADAPTER as AdapterName;
const http = createServer();
await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
const { port } = http.address() as AddressInfo;
const issuer = `http://localhost:${port}`;
const config = loadConfig({ ...process.env, PORT: String(port), ISSUER: issuer });
const logger = createLogger(config);
const url = config.database.url ?? '';
const database = openDatabase({ url, poolSize: config.database.poolSize, logger });
const domains = await composeDomains(config, {
  logger,
  opened: { database, directUrl: url, close: () => database.close() },
  actor: { kind: 'system' },
});
const knexAdapter = adapterName === 'knex' ? createKnexAdapter(url, config.database.poolSize) : undefined;
const adapter = adapterName === 'map' ? createMapAdapter() : knexAdapter?.adapter;
const server = await composeServer(config, domains, { artifactAdapter: adapter });
await domains.changes.start();

const inspector = new Session();
let answered = 0;
let statements = 0;
// A statement takes a connection once.
database.pool.on('acquire', () => {
  statements += 1;
});
http.on('request', (request, response) => {
  response.on('finish', () => {
    answered += 1;
  });
  server.handler(request, response);
});

/** Puts the tokens of people from one number up to another where this server keeps them, each with its grant. */
async function seed({ owners, from, to }: { owners: Owners; from: number; to: number }): Promise<void> {
  const numbers = Array.from({ length: to - from }, (_, index) => from + index);
  const artifacts = numbers.flatMap((number) => [accessToken(number, number, owners), grant(number, owners)]);
  await Promise.all(
    artifacts.map(({ kind, id, payload, ttlSeconds }) =>
      adapter === undefined
        ? domains.artifacts.upsert(kind, id, payload, ttlSeconds)
        : adapter(kind).upsert(id, payload, ttlSeconds),
    ),
  );
}

const handlers = {
  address: () => issuer,
  seed,
  /** Microseconds of CPU, requests answered and milliseconds, all since some moment; bytes held. */
  snapshot: () => {
    const { user, system } = process.cpuUsage();
    return {
      cpuMicros: user + system,
      answered,
      statements,
      atMs: performance.now(),
      residentBytes: process.memoryUsage.rss(),
    };
  },
  /** Removes what was due by `dueBy` (epoch ms), as the scheduled sweep does it. @returns rows removed */
  sweep: (dueBy: number) =>
    sweepInBatches({
      batchSize: config.sweep.batchSize,
      sweep: (size) => sweepExpiredArtifacts({ pool: database.pool, clock: () => dueBy, batchSize: size }),
      signal: AbortSignal.timeout(10 * 60_000),
    }),
  startProfile: async () => {
    inspector.connect();
    await inspector.post('Profiler.enable');
    await inspector.post('Profiler.start');
  },
  stopProfile: async () => {
    const { profile } = await inspector.post('Profiler.stop');
    inspector.disconnect();
    return profile;
  },
};

export type ServerHandlers = typeof handlers;

answerParent(handlers);
