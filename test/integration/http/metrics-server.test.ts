import { describe, expect, test } from '@jest/globals';
import { createMetricsServer } from '../../../src/http/metrics-server.ts';
import { createMetrics } from '../../../src/telemetry/index.ts';

const { registry } = createMetrics({ version: '0' });

describe('the metrics server', () => {
  test('answers /metrics and nothing else', async () => {
    const server = createMetricsServer({ host: '127.0.0.1', port: 0, registry });
    const { port } = await server.listen();
    const url = `http://127.0.0.1:${port}`;
    try {
      const answer = await fetch(`${url}/metrics`);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toContain('text/plain; version=0.0.4');
      expect(answer.headers.get('cache-control')).toBe('no-store');
      expect(await answer.text()).toContain('tessera_build_info{');
      for (const path of ['/', '/metrics/', '/metricsx', '/token', '/health/live', '/x?/metrics']) {
        expect({ path, status: (await fetch(url + path)).status }).toEqual({ path, status: 404 });
      }
      expect((await fetch(`${url}/metrics`, { method: 'POST' })).status).toBe(405);
    } finally {
      await server.close();
    }
    await expect(fetch(`${url}/metrics`)).rejects.toThrow();
  });

  test('a failure to gather is 500 without its reason', async () => {
    const broken = { contentType: registry.contentType, metrics: () => Promise.reject(new Error('SECRET')) };
    const server = createMetricsServer({ host: '127.0.0.1', port: 0, registry: broken });
    const { port } = await server.listen();
    try {
      const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
      expect(answer.status).toBe(500);
      expect(await answer.text()).not.toContain('SECRET');
    } finally {
      await server.close();
    }
  });

  test('a port that is taken is refused to the caller, and closing twice does no harm', async () => {
    const first = createMetricsServer({ host: '127.0.0.1', port: 0, registry });
    const { port } = await first.listen();
    const second = createMetricsServer({ host: '127.0.0.1', port, registry });
    await expect(second.listen()).rejects.toMatchObject({
      message: `METRICS_PORT wants a free port that this user may open: ${port} is taken`,
    });
    await second.close();
    await first.close();
    await first.close();
  });
});
