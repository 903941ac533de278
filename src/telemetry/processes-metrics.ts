import { AggregatorRegistry, Counter, Gauge, Registry } from 'prom-client';

/** The metrics of one process at one moment, as it tells them to another one. */
export type MetricsSnapshot = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;

/** One page for several processes. */
export type ProcessesMetrics = Readonly<{
  /** What process `id` counted up to now; replaces what it told before. */
  take(id: number, snapshot: MetricsSnapshot): void;
  /** The process has ended. What it counted stays in the sums, which would fall otherwise: a fall looks like a restart. */
  leave(id: number): void;
  /** How many processes serve. */
  setReady(count: number): void;
  countDeath(): void;
  /** Of all that is known. */
  metrics(): Promise<string>;
  contentType: Registry['contentType'];
}>;

/**
 * Where the sum over processes, or what prom-client does with its own metrics, would hide what is watched for: that one
 * process has no breath left.
 */
const AGGREGATORS: Readonly<Record<string, MetricsSnapshot[number]['aggregator']>> = {
  tessera_build_info: 'first',
  process_start_time_seconds: 'min',
  process_open_fds: 'max',
  process_max_fds: 'min',
  nodejs_eventloop_lag_seconds: 'max',
  nodejs_eventloop_lag_mean_seconds: 'max',
  nodejs_eventloop_lag_p50_seconds: 'max',
  nodejs_eventloop_lag_p90_seconds: 'max',
  nodejs_eventloop_lag_p99_seconds: 'max',
};

/** Sums up the metrics of processes; counters and histograms never fall, whichever of the processes end. */
export function createProcessesMetrics(): ProcessesMetrics {
  const own = new Registry();
  const ready = new Gauge({
    name: 'tessera_workers',
    help: 'Worker processes that serve at this moment',
    registers: [own],
  });
  const deaths = new Counter({
    name: 'tessera_worker_deaths_total',
    help: 'Worker processes that ended without being told to',
    registers: [own],
  });
  const living = new Map<number, MetricsSnapshot>();
  let departed: MetricsSnapshot = [];

  return Object.freeze({
    take(id: number, snapshot: MetricsSnapshot) {
      living.set(
        id,
        snapshot.map((metric) => ({ ...metric, aggregator: AGGREGATORS[metric.name] ?? metric.aggregator })),
      );
    },
    leave(id: number) {
      const last = living.get(id);
      if (last === undefined) return;
      living.delete(id);
      // Its types call this a number; it is the word of the exposition format.
      const counted = last.filter(({ type }) => ['counter', 'histogram'].includes(String(type)));
      // Nor do they tell that the metrics of a sum have their values with them.
      departed = AggregatorRegistry.aggregate([departed, counted]).getMetricsAsArray() as MetricsSnapshot;
    },
    setReady: (count: number) => ready.set(count),
    countDeath: () => deaths.inc(),
    async metrics() {
      const registry = AggregatorRegistry.aggregate([await own.getMetricsAsJSON(), ...living.values(), departed]);
      return registry.metrics();
    },
    contentType: own.contentType,
  });
}
