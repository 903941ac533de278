import { afterEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createMetrics, knexPoolUse, pgPoolUse } from '../../../src/telemetry/index.ts';
import { ENDPOINTS } from '../../../src/telemetry/metrics-labels.ts';

const metrics = createMetrics({ version: '1.2.3' });

afterEach(() => metrics.registry.resetMetrics());

async function series(name: string): Promise<string[]> {
  const text = await metrics.registry.getSingleMetricAsString(name);
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

describe('metrics', () => {
  test('requests are counted by endpoint, method and status, and timed by endpoint', async () => {
    metrics.countRequest({ endpoint: 'token', method: 'POST', status: 200, durationSeconds: 0.004 });
    metrics.countRequest({ endpoint: 'token', method: 'POST', status: 200, durationSeconds: 0.2 });
    expect(await series('tessera_http_requests_total')).toEqual([
      'tessera_http_requests_total{endpoint="token",method="POST",status="200"} 2',
    ]);
    const durations = await series('tessera_http_request_duration_seconds');
    expect(durations).toContain('tessera_http_request_duration_seconds_bucket{le="0.0025",endpoint="token"} 0');
    expect(durations).toContain('tessera_http_request_duration_seconds_bucket{le="0.005",endpoint="token"} 1');
    expect(durations).toContain('tessera_http_request_duration_seconds_bucket{le="0.25",endpoint="token"} 2');
  });

  test('a token request is ok, or counted under its OAuth error code', async () => {
    metrics.countTokenRequest({ grantType: 'client_credentials', status: 200, error: undefined });
    metrics.countTokenRequest({ grantType: 'authorization_code', status: 400, error: 'invalid_grant' });
    metrics.countTokenRequest({ grantType: 'refresh_token', status: 503, error: undefined });
    metrics.countTokenRequest({ grantType: undefined, status: 400, error: undefined });
    metrics.countTokenRequest({ grantType: 'refresh_token', status: undefined, error: undefined });
    expect(await series('tessera_token_requests_total')).toEqual([
      'tessera_token_requests_total{grant_type="client_credentials",outcome="ok"} 1',
      'tessera_token_requests_total{grant_type="authorization_code",outcome="invalid_grant"} 1',
      'tessera_token_requests_total{grant_type="refresh_token",outcome="server_error"} 1',
      'tessera_token_requests_total{grant_type="other",outcome="other"} 1',
      'tessera_token_requests_total{grant_type="refresh_token",outcome="aborted"} 1',
    ]);
  });

  test('no caller can make a label: whatever is sent lands in a closed list', async () => {
    const anything = fc.oneof(fc.string(), fc.constantFrom('__proto__', 'constructor', 'toString', 'token'));
    fc.assert(
      fc.property(anything, anything, anything, fc.integer(), (endpoint, method, code, status) => {
        metrics.countRequest({ endpoint, method, status, durationSeconds: 0.001 });
        metrics.countTokenRequest({ grantType: endpoint, status, error: code });
      }),
      { numRuns: 2_000 },
    );
    const labels = (await series('tessera_http_requests_total')).concat(await series('tessera_token_requests_total'));
    const endpoints = new Set(labels.flatMap((line) => /endpoint="([^"]*)"/.exec(line)?.[1] ?? []));
    for (const endpoint of endpoints) expect(ENDPOINTS as readonly string[]).toContain(endpoint);
    for (const line of labels) {
      expect(line).not.toMatch(/(method|grant_type|outcome)="(?!other|ok|invalid_|[A-Z]+"|authorization_code)[^"]*"/);
    }
    expect(labels.length).toBeLessThan(200);
  });

  test('what waits for the audit trail and what it lost are read when the metrics are', async () => {
    let backlog = { waiting: 3, dropped: 0 };
    metrics.watchAudit(() => backlog);
    expect(await series('tessera_audit_events_waiting')).toEqual(['tessera_audit_events_waiting 3']);
    expect(await series('tessera_audit_events_dropped_total')).toEqual(['tessera_audit_events_dropped_total 0']);
    backlog = { waiting: 0, dropped: 2 };
    expect(await series('tessera_audit_events_waiting')).toEqual(['tessera_audit_events_waiting 0']);
    for (let scrape = 0; scrape < 2; scrape += 1) {
      expect(await series('tessera_audit_events_dropped_total')).toEqual(['tessera_audit_events_dropped_total 2']);
    }
  });

  test('how much that was revoked is held is read when the metrics are', async () => {
    let held = 3;
    metrics.watchRevocations(() => held);
    expect(await series('tessera_revocations_held')).toEqual(['tessera_revocations_held 3']);
    held = 2;
    expect(await series('tessera_revocations_held')).toEqual(['tessera_revocations_held 2']);
  });

  test('uses of API keys are counted by outcome, as they were told last', async () => {
    const counts = { allowed: 3, quota_exceeded: 0 };
    metrics.watchApiKeys(() => counts);
    const read = () => series('tessera_api_key_uses_total');
    expect(await read()).toContain('tessera_api_key_uses_total{outcome="allowed"} 3');
    counts.quota_exceeded = 2;
    expect(await read()).toEqual([
      'tessera_api_key_uses_total{outcome="allowed"} 3',
      'tessera_api_key_uses_total{outcome="quota_exceeded"} 2',
    ]);
  });

  test('jobs are counted by queue and outcome, as they were told last', async () => {
    const letters = { done: 1, given_up: 0 };
    metrics.watchJobs(() => new Map([['letters', letters]]));
    letters.given_up = 2;
    expect(await series('tessera_jobs_total')).toEqual([
      'tessera_jobs_total{queue="letters",outcome="done"} 1',
      'tessera_jobs_total{queue="letters",outcome="given_up"} 2',
    ]);
  });

  test('what the token store asked the database, and what its cache spared it, are read when the metrics are', async () => {
    let counts = { statements: { 'artifacts-tokens': 2, 'artifacts-upsert': 5 }, cache: { hits: 90, misses: 10 } };
    metrics.watchArtifacts(() => counts);
    for (let scrape = 0; scrape < 2; scrape += 1) {
      expect(await series('tessera_artifact_statements_total')).toEqual([
        'tessera_artifact_statements_total{statement="artifacts-tokens"} 2',
        'tessera_artifact_statements_total{statement="artifacts-upsert"} 5',
      ]);
    }
    counts = { ...counts, cache: { hits: 91, misses: 10 } };
    expect(await series('tessera_token_cache_lookups_total')).toEqual([
      'tessera_token_cache_lookups_total{outcome="hit"} 91',
      'tessera_token_cache_lookups_total{outcome="miss"} 10',
    ]);
  });

  test('pools are read when the metrics are', async () => {
    const pool = { totalCount: 7, idleCount: 3, waitingCount: 2 };
    const tarn = { numUsed: () => 4, numFree: () => 1, numPendingAcquires: () => 9 };
    metrics.watchPool('tokens', () => pgPoolUse(pool));
    metrics.watchPool('general', () => knexPoolUse({ client: { pool: tarn } }));
    pool.totalCount = 8;
    expect(await series('tessera_database_connections')).toEqual([
      'tessera_database_connections{pool="tokens",state="total"} 8',
      'tessera_database_connections{pool="tokens",state="idle"} 3',
      'tessera_database_connections{pool="tokens",state="waiting"} 2',
      'tessera_database_connections{pool="general",state="total"} 5',
      'tessera_database_connections{pool="general",state="idle"} 1',
      'tessera_database_connections{pool="general",state="waiting"} 9',
    ]);
    expect(knexPoolUse({ client: {} })).toEqual({ total: 0, idle: 0, waiting: 0 });
  });

  test('the build, the process and the lag of the event loop are told', async () => {
    const text = await createMetrics({ version: '1.2.3' }).registry.metrics();
    expect(text).toContain(`tessera_build_info{version="1.2.3",node_version="${process.version}"} 1`);
    expect(text).toMatch(/^nodejs_eventloop_lag_p99_seconds /m);
    expect(text).toMatch(/^process_resident_memory_bytes /m);
  });
});
