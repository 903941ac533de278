import { setTimeout as delay } from 'node:timers/promises';
import { defaults } from '../config/defaults.ts';
import type { Process } from './calls.ts';
import type { Row } from './comparisons.ts';
import type { LoadHandlers, Scenario } from './load.ts';
import type { Options } from './options.ts';
import { SCOPES } from './registry.ts';
import type { ServerHandlers } from './server.ts';
import { type Stage, TOKENS } from './stage.ts';
import { judge, median } from './statistics.ts';

const SAMPLE_MS = 250;
/** Until then caches fill and the heap finds its size; what grows later grows for ever. */
const SETTLED_AFTER = 200_000;
const MIB = 2 ** 20;

type Sample = { answered: number; residentBytes: number };

/**
 * Resident memory over many requests. Ours issues a token with every tenth and introspects with the others, hot cache on,
 * as it is by default. The ceiling only introspects: what it issues it has to keep, which would flatter us; and it is
 * asked less, for nothing of it grows once it has settled. Both at once, for neither's speed is measured.
 */
export async function memory(stage: Stage, options: Options): Promise<Row[]> {
  const introspected = { tokens: TOKENS, tokensPerGrant: 1 };
  const environment = { TOKEN_CACHE_SIZE: defaults.TOKEN_CACHE_SIZE };
  const count = options.memoryRequests;
  const peerCount = Math.min(count, 2 * SETTLED_AFTER);
  // What seeding leaves in a heap is none of the worker's own.
  await stage.server('ours', { isSeeded: true });
  const [ours, map] = await Promise.all([
    watch(
      stage.load,
      await stage.server('remembering', { environment, isSeeded: true }),
      { kind: 'mixed', scope: SCOPES.opaque, issuedShare: 0.1, ...introspected },
      count,
    ),
    watch(
      await stage.startLoad(),
      await stage.server('remembering map', { adapter: 'map', isSeeded: true }),
      { kind: 'introspection', ...introspected },
      peerCount,
    ),
  ]);
  const between = (samples: readonly Sample[], from: number, to: number) =>
    samples.filter(({ answered }) => answered >= from && answered <= to).map(({ residentBytes }) => residentBytes);
  const late = between(ours.samples, 0.9 * count, count);
  const lateMap = median(between(map.samples, 0.9 * peerCount, peerCount));
  const row: Row = {
    ...judge(
      `resident memory of one worker after ${count.toLocaleString('en')} requests (ceiling)`,
      late.map((bytes) => bytes / lateMap),
      { atMost: 1.25 },
    ),
    ours: mebibytes(median(late)),
    peer: mebibytes(lateMap),
    failures: ours.failures + map.failures,
  };
  if (count < 2 * SETTLED_AFTER) return [row];
  const early = median(between(ours.samples, SETTLED_AFTER, 1.25 * SETTLED_AFTER));
  const growth: Row = {
    ...judge(
      `the same (after ${SETTLED_AFTER.toLocaleString('en')})`,
      late.map((bytes) => bytes / early),
      { atMost: 1.05 },
    ),
    ours: mebibytes(median(late)),
    peer: mebibytes(early),
    failures: ours.failures,
  };
  return [row, growth];
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`;
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
