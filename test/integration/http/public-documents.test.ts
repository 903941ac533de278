import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect, test } from '@jest/globals';
import Koa from 'koa';
import { publicDocumentSeconds, publicDocuments } from '../../../src/http/public-documents.ts';

test.each([
  ['of the default is an hour', 1_209_600, 3_600],
  ['is a quarter of the time that a key is announced', 400, 100],
  ['is never more than that quarter', 7, 1],
  ['is none where a quarter is less than a second', 3, 0],
])('how long public documents are kept %s', (_, announceSeconds, seconds) => {
  expect(publicDocumentSeconds({ announceSeconds })).toBe(seconds);
});

test.each([
  ['an error', 'GET', 503],
  ['what answers a POST', 'POST', 200],
])('%s at the address of a public document is not cached', async (_, method, status) => {
  const app = new Koa();
  app.use(publicDocuments({ keyPolicy: { algorithms: ['RS256'], rotationSeconds: 9_000, announceSeconds: 4_000 } }));
  app.use((context) => {
    context.status = status;
    context.set('Cache-Control', 'no-store');
    context.body = { error: 'temporarily_unavailable' };
  });
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const { port } = server.address() as AddressInfo;
    const answer = await fetch(`http://127.0.0.1:${port}/jwks`, { method });
    expect(answer.status).toBe(status);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.get('etag')).toBeNull();
  } finally {
    server.close();
  }
});
