import { beforeEach, describe, expect, test } from '@jest/globals';
import {
  createMetrics,
  createProcessesMetrics,
  type Metrics,
  type ProcessesMetrics,
} from '../../../src/telemetry/index.ts';

let all: ProcessesMetrics;
let first: Metrics;
let second: Metrics;
beforeEach(() => {
  all = createProcessesMetrics();
  first = createMetrics({ version: '1.2.3' });
  second = createMetrics({ version: '1.2.3' });
});

/** As it arrives: by structured clone. */
async function tell(id: number, { registry }: Metrics): Promise<void> {
  all.take(id, structuredClone(await registry.getMetricsAsJSON()));
}

async function series(name: string): Promise<string[]> {
  return (await all.metrics()).split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
}

const request = { endpoint: 'token', method: 'POST', status: 200, durationSeconds: 0.004 };
const REQUESTS = 'tessera_http_requests_total{endpoint="token",method="POST",status="200"}';
const DURATIONS = 'tessera_http_request_duration_seconds_count';

describe('the metrics of several processes', () => {
  test('add up what they count and what they hold, by labels', async () => {
    for (const metrics of [first, second, second]) metrics.countRequest(request);
    first.countRequest({ ...request, endpoint: 'jwks' });
    first.watchPool('queries', () => ({ total: 5, idle: 3, waiting: 1 }));
    second.watchPool('queries', () => ({ total: 2, idle: 2, waiting: 0 }));
    await tell(1, first);
    await tell(2, second);
    expect(await series(REQUESTS)).toEqual([`${REQUESTS} 3`]);
    expect(await series(DURATIONS)).toEqual([`${DURATIONS}{endpoint="token"} 3`, `${DURATIONS}{endpoint="jwks"} 1`]);
    expect(await series('tessera_database_connections')).toEqual([
      'tessera_database_connections{pool="queries",state="total"} 7',
      'tessera_database_connections{pool="queries",state="idle"} 5',
      'tessera_database_connections{pool="queries",state="waiting"} 1',
    ]);
  });

  test('hold the last that each has told, once', async () => {
    first.countRequest(request);
    await tell(1, first);
    first.countRequest(request);
    await tell(1, first);
    expect(await series(REQUESTS)).toEqual([`${REQUESTS} 2`]);
  });

  test('keep what a process has counted that has gone, and forget what it held', async () => {
    first.watchPool('queries', () => ({ total: 5, idle: 3, waiting: 1 }));
    for (const id of [1, 2, 3]) {
      first.countRequest(request);
      await tell(id, first);
      all.leave(id);
      all.leave(id);
    }
    expect(await series(REQUESTS)).toEqual([`${REQUESTS} 6`]);
    expect(await series(DURATIONS)).toEqual([`${DURATIONS}{endpoint="token"} 6`]);
    expect(await series('tessera_database_connections')).toEqual([]);
    await tell(4, second);
    second.countRequest(request);
    await tell(4, second);
    expect(await series(REQUESTS)).toEqual([`${REQUESTS} 7`]);
  });

  test('show the process that has the least breath left, where a sum or a mean would hide it', async () => {
    const busy = await first.registry.getMetricsAsJSON();
    const idle = await second.registry.getMetricsAsJSON();
    const withValue = (snapshot: typeof busy, value: number) =>
      snapshot.map((metric) => ({ ...metric, values: metric.values.map((one) => ({ ...one, value })) }));
    all.take(1, withValue(busy, 9));
    all.take(2, withValue(idle, 1));
    for (const lag of ['', '_mean', '_p50', '_p90', '_p99', '_max']) {
      expect(await series(`nodejs_eventloop_lag${lag}_seconds`)).toEqual([`nodejs_eventloop_lag${lag}_seconds 9`]);
    }
    expect(await series('process_open_fds')).toEqual(['process_open_fds 9']);
    expect(await series('process_max_fds')).toEqual(['process_max_fds 1']);
    expect(await series('process_start_time_seconds')).toEqual(['process_start_time_seconds 1']);
    expect(await series('process_resident_memory_bytes')).toEqual(['process_resident_memory_bytes 10']);
  });

  test('tell the build as one process does, and every metric that one process has', async () => {
    await tell(1, first);
    await tell(2, second);
    expect(await series('tessera_build_info')).toEqual([
      `tessera_build_info{version="1.2.3",node_version="${process.version}"} 1`,
    ]);
    const names = (text: string) => [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name);
    expect(names(await all.metrics())).toEqual(expect.arrayContaining(names(await first.registry.metrics())));
  });

  test('tell how many processes serve and how many died, also when there is none', async () => {
    all.setReady(2);
    all.countDeath();
    expect(await series('tessera_workers')).toEqual(['tessera_workers 2']);
    all.setReady(0);
    expect(await series('tessera_workers')).toEqual(['tessera_workers 0']);
    expect(await series('tessera_worker_deaths_total')).toEqual(['tessera_worker_deaths_total 1']);
  });
});
