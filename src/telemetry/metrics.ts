import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { endpointLabel, grantTypeLabel, methodLabel, statusLabel, tokenOutcomeLabel } from './metrics-labels.ts';

/** Connections of one pool at this moment: open, open and idle, and requests that wait for one. */
export type PoolUse = { total: number; idle: number; waiting: number };

/** Audit events that wait for the database, and those dropped since the start because it was away for too long. */
type AuditBacklog = { waiting: number; dropped: number };

/** Of the token store since the start: statements by name, and how often what was asked was held in the process. */
type ArtifactCounts = { statements: Readonly<Record<string, number>>; cache: { hits: number; misses: number } };

/** What happened to one request; `status` is absent where the peer left before it had the whole answer. */
type MeasuredRequest = {
  endpoint: string | undefined;
  method: string;
  status: number | undefined;
  durationSeconds: number;
};

export type Metrics = Readonly<{
  registry: Registry;
  countRequest(request: MeasuredRequest): void;
  countTokenRequest(request: {
    grantType: string | undefined;
    status: number | undefined;
    error: string | undefined;
  }): void;
  /** Reads the use of a pool whenever the metrics are asked for. `name` is ours, never a caller's. */
  watchPool(name: string, use: () => PoolUse): void;
  /** Reads what waits to be recorded in the audit trail, and what was lost, whenever the metrics are asked for. */
  watchAudit(counts: () => AuditBacklog): void;
  /** Reads what the token store has asked the database, and what it has spared it. The names of statements are ours. */
  watchArtifacts(counts: () => ArtifactCounts): void;
  watchRevocations(heldCount: () => number): void;
  /** Reads how often API keys were allowed and refused. The names of outcomes are ours. */
  watchApiKeys(counts: () => Readonly<Record<string, number>>): void;
  /** Reads how jobs of each queue ended. The names of queues and of outcomes are ours. */
  watchJobs(counts: () => ReadonlyMap<string, Readonly<Record<string, number>>>): void;
}>;

/** Seconds. An introspection takes one or two milliseconds, a password check hundreds: both must be told apart. */
const DURATION_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/**
 * The metrics of one server in a registry of their own, with those of the process (memory, CPU, event-loop lag). Every
 * label comes from a closed list; what is not in it is counted as `other`.
 */
export function createMetrics(build: { version: string }): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

  new Gauge({
    name: 'tessera_build_info',
    help: 'The running version of Tessera and of Node.js; always 1',
    labelNames: ['version', 'node_version'],
    registers,
  }).set({ version: build.version, node_version: process.version }, 1);

  const requests = new Counter({
    name: 'tessera_http_requests_total',
    help: 'Requests answered, by endpoint, method and status',
    labelNames: ['endpoint', 'method', 'status'],
    registers,
  });
  const durations = new Histogram({
    name: 'tessera_http_request_duration_seconds',
    help: 'Seconds from the arrival of a request to the end of its answer',
    labelNames: ['endpoint'],
    buckets: DURATION_BUCKETS,
    registers,
  });
  const tokenRequests = new Counter({
    name: 'tessera_token_requests_total',
    help: 'Requests to the token endpoint, by grant type and outcome: ok, or the OAuth error code',
    labelNames: ['grant_type', 'outcome'],
    registers,
  });

  const pools = new Map<string, () => PoolUse>();
  new Gauge({
    name: 'tessera_database_connections',
    help: 'Database connections by pool and state; waiting: requests that wait for one',
    labelNames: ['pool', 'state'],
    registers,
    collect() {
      for (const [pool, use] of pools) {
        for (const [state, count] of Object.entries(use())) this.set({ pool, state }, count);
      }
    },
  });

  return Object.freeze({
    registry,
    countRequest(request: MeasuredRequest) {
      const endpoint = endpointLabel(request.endpoint);
      requests.inc({ endpoint, method: methodLabel(request.method), status: statusLabel(request.status) });
      durations.observe({ endpoint }, request.durationSeconds);
    },
    countTokenRequest(request: {
      grantType: string | undefined;
      status: number | undefined;
      error: string | undefined;
    }) {
      tokenRequests.inc({
        grant_type: grantTypeLabel(request.grantType),
        outcome: tokenOutcomeLabel(request.status, request.error),
      });
    },
    watchPool(name: string, use: () => PoolUse) {
      pools.set(name, use);
    },
    watchArtifacts(counts: () => ArtifactCounts) {
      new Counter({
        name: 'tessera_artifact_statements_total',
        help: 'Statements of the token store, each for many requests, by name',
        labelNames: ['statement'],
        registers,
        collect() {
          this.reset();
          for (const [statement, count] of Object.entries(counts().statements)) this.inc({ statement }, count);
        },
      });
      new Counter({
        name: 'tessera_token_cache_lookups_total',
        help: 'Look-ups by token verification in the cache of live tokens, grants and sessions, by outcome',
        labelNames: ['outcome'],
        registers,
        collect() {
          const { hits, misses } = counts().cache;
          this.reset();
          this.inc({ outcome: 'hit' }, hits);
          this.inc({ outcome: 'miss' }, misses);
        },
      });
    },
    watchRevocations(heldCount: () => number) {
      new Gauge({
        name: 'tessera_revocations_held',
        help: 'Revoked tokens and marks of clients and accounts that this process holds in memory',
        registers,
        collect() {
          this.set(heldCount());
        },
      });
    },
    watchApiKeys(counts: () => Readonly<Record<string, number>>) {
      new Counter({
        name: 'tessera_api_key_uses_total',
        help: 'Uses of API keys that were allowed or refused, by outcome',
        labelNames: ['outcome'],
        registers,
        collect() {
          this.reset();
          for (const [outcome, count] of Object.entries(counts())) this.inc({ outcome }, count);
        },
      });
    },
    watchJobs(counts: () => ReadonlyMap<string, Readonly<Record<string, number>>>) {
      new Counter({
        name: 'tessera_jobs_total',
        help: 'Jobs by queue and outcome: done, failed (one attempt), given_up (the last attempt failed)',
        labelNames: ['queue', 'outcome'],
        registers,
        collect() {
          this.reset();
          for (const [queue, outcomes] of counts()) {
            for (const [outcome, count] of Object.entries(outcomes)) this.inc({ queue, outcome }, count);
          }
        },
      });
    },
    watchAudit(counts: () => AuditBacklog) {
      new Gauge({
        name: 'tessera_audit_events_waiting',
        help: 'Audit events that wait to be written to the database',
        registers,
        collect() {
          this.set(counts().waiting);
        },
      });
      new Counter({
        name: 'tessera_audit_events_dropped_total',
        help: 'Audit events that were lost because the database was away for too long',
        registers,
        collect() {
          this.reset();
          this.inc(counts().dropped);
        },
      });
    },
  });
}
