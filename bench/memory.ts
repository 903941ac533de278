import { setTimeout as delay } from 'node:timers/promises';
import type { Process } from './calls.ts';
import type { Row } from './comparisons.ts';
import type { LoadHandlers, Scenario } from './load.ts';
import type { Options } from './options.ts';
import { SCOPES } from './registry.ts';
import type { ServerHandlers } from './server.ts';
import { type Stage, TOKENS } from './stage.ts';
import { judge, median } from './statistics.ts';

const SAMPLE_MS = 250;
/** The default of TOKEN_CACHE_SIZE: a worker as it is. */
const CACHE_SIZE = '20000';
const MIB = 2 ** 20;

type Sample = { answered: number; residentBytes: number };

/**
 * Resident memory over many requests. Ours issues a token with every fourth and introspects with the others, hot cache on,
 * as it is by default. The ceiling only introspects: what it issues it has to keep, which would flatter us. Both at once,
 * for neither's speed is measured.
 */
export async function memory(stage: Stage, options: Options): Promise<Row[]> {
  const introspected = { tokens: TOKENS, tokensPerGrant: 1 };
  const environment = { TOKEN_CACHE_SIZE: CACHE_SIZE };
  const [ours, map] = await Promise.all([
    watch(
      stage.load,
      await stage.server('remembering', { environment, isSeeded: true }),
      { kind: 'mixed', scope: SCOPES.opaque, issuedShare: 0.25, ...introspected },
      options.memoryRequests,
    ),
    watch(
      await stage.startLoad(),
      await stage.server('remembering map', { adapter: 'map', isSeeded: true }),
      { kind: 'introspection', ...introspected },
      options.memoryRequests,
    ),
  ]);
  const count = options.memoryRequests;
  const between = (samples: readonly Sample[], from: number, to: number) =>
    samples
      .filter(({ answered }) => answered >= from * count && answered <= to * count)
      .map(({ residentBytes }) => residentBytes);
  const [early, late] = [between(ours.samples, 0.2, 0.3), between(ours.samples, 0.9, 1)];
  const lateMap = median(between(map.samples, 0.9, 1));
  const mib = (bytes: number) => `${Math.round(bytes / MIB)} MiB`;
  const failures = ours.failures + map.failures;
  const requests = count.toLocaleString('en');
  return [
    {
      ...judge(
        `resident memory of one worker after ${requests} requests (ceiling)`,
        late.map((bytes) => bytes / lateMap),
        { atMost: 1.25 },
      ),
      ours: mib(median(late)),
      peer: mib(lateMap),
      failures,
    },
    {
      ...judge(
        `the same, against itself after ${(count / 5).toLocaleString('en')}`,
        late.map((bytes) => bytes / median(early)),
        { atMost: 1.05 },
      ),
      ours: mib(median(late)),
      peer: mib(median(early)),
      failures: ours.failures,
    },
  ];
}

async function watch(
  load: Process<LoadHandlers>,
  server: Process<ServerHandlers>,
  scenario: Scenario,
  requests: number,
): Promise<{ samples: Sample[]; failures: number }> {
  const samples: Sample[] = [];
  const { answered: before } = await server.ask('snapshot');
  await load.ask('start', { address: await server.ask('address'), scenario });
  for (let answered = 0; answered < requests; ) {
    await delay(SAMPLE_MS);
    const snapshot = await server.ask('snapshot');
    answered = snapshot.answered - before;
    samples.push({ answered, residentBytes: snapshot.residentBytes });
  }
  const { failures } = await load.ask('stop');
  return { samples, failures };
}
