import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createLocalJWKSet, createRemoteJWKSet, customFetch, type JSONWebKeySet, jwtVerify } from 'jose';
import { createServiceClient, createTestApi } from '../../harness/factories.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { serviceToken } from '../../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';

const DISCOVERY = ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server'];
const DOCUMENTS = [...DISCOVERY, '/jwks'];

let first: TestServer;
let second: TestServer;
beforeAll(async () => {
  first = await startTestServer();
  second = await startTestServer({ node: first, environment: { ISSUER: first.issuer } });
});
afterAll(async () => {
  await second.close();
  await first.close();
});

async function tagOf(node: TestServer, path: string): Promise<string> {
  const { headers } = await fetch(`${node.address}${path}`);
  return headers.get('etag') ?? '';
}

/** Waits until both nodes bear one tag that is another than `before`, within a second. */
async function bothChange(path: string, before: string): Promise<void> {
  await until(
    `${path} has changed`,
    async () => {
      const [tag, tagOfSecond] = await Promise.all([tagOf(first, path), tagOf(second, path)]);
      return tag !== before && tag === tagOfSecond;
    },
    SEEN_WITHIN_MS,
  );
}

describe.each(DOCUMENTS)('%s', (path) => {
  test('may be kept by anyone for an hour, whatever the origin that asks', async () => {
    const { status, headers } = await fetch(`${first.address}${path}`, { headers: { origin: 'https://a.example' } });
    expect(status).toBe(200);
    expect(headers.get('cache-control')).toBe('public, max-age=3600');
    expect(headers.get('etag')).toMatch(/^"[\w-]{43}"$/);
    // The answer to one origin must not be given to another.
    expect(headers.get('access-control-allow-origin')).toBe('https://a.example');
    expect(headers.get('vary')).toMatch(/^origin$/i);
  });

  test('is told by its tag to who has it: 304 without a body, still open to the origin that asks', async () => {
    const tag = await tagOf(first, path);
    for (const given of [tag, `W/${tag}`, `"another", ${tag}`, '*']) {
      const answer = await fetch(`${first.address}${path}`, {
        headers: { 'if-none-match': given, origin: 'https://a.example' },
      });
      expect({ given, status: answer.status, text: await answer.text() }).toEqual({ given, status: 304, text: '' });
      expect(answer.headers.get('etag')).toBe(tag);
      expect(answer.headers.get('cache-control')).toBe('public, max-age=3600');
      expect(answer.headers.get('access-control-allow-origin')).toBe('https://a.example');
      expect(answer.headers.get('vary')).toMatch(/^origin$/i);
      expect(answer.headers.get('content-type')).toBeNull();
    }
  });

  test('is sent whole to who has another', async () => {
    const tag = await tagOf(first, path);
    for (const given of ['"another"', tag.slice(1, -1), `${tag.slice(0, -1)}x"`]) {
      const answer = await fetch(`${first.address}${path}`, { headers: { 'if-none-match': given } });
      expect({ given, status: answer.status }).toEqual({ given, status: 200 });
      expect(Object.keys((await answer.json()) as object)).not.toEqual([]);
    }
  });

  test('has the same headers for HEAD as for GET, and no body', async () => {
    const [get, head] = await Promise.all(
      ['GET', 'HEAD'].map((method) => fetch(`${first.address}${path}`, { method })),
    );
    for (const name of ['etag', 'cache-control', 'content-type', 'content-length', 'vary']) {
      expect(head?.headers.get(name)).toBe(get?.headers.get(name));
      expect(head?.headers.get(name)).not.toBeNull();
    }
    expect(head?.status).toBe(200);
    expect(await head?.text()).toBe('');
  });

  test('is the same to the byte on every node', async () => {
    const texts = await Promise.all(
      [first, second].map(async ({ address }) => (await fetch(`${address}${path}`)).text()),
    );
    expect(texts[0]).toBe(texts[1]);
    expect(await tagOf(first, path)).toBe(await tagOf(second, path));
  });

  test.each([
    ['a preflight', 'OPTIONS', 204],
    ['a POST', 'POST', 404],
    ['a DELETE', 'DELETE', 404],
  ])('is not cached as the answer to %s', async (_, method, status) => {
    const answer = await fetch(`${first.address}${path}`, {
      method,
      headers: { origin: 'https://a.example', 'access-control-request-method': 'GET', accept: 'application/json' },
    });
    expect(answer.status).toBe(status);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.get('etag')).toBeNull();
  });
});

test('both discovery documents are one, to the tag', async () => {
  const tags = await Promise.all(DISCOVERY.map((path) => tagOf(first, path)));
  expect(tags[0]).toBe(tags[1]);
});

test('a path that only looks like one of them is not cached', async () => {
  for (const path of ['/jwks/x', '/jwks.json', '/.well-known/openid-configuration/x', '/.well-known/x']) {
    const { status, headers } = await fetch(`${first.address}${path}`, { headers: { accept: 'application/json' } });
    expect({ path, status, cacheControl: headers.get('cache-control'), tag: headers.get('etag') }).toEqual({
      path,
      status: 404,
      cacheControl: 'no-store',
      tag: null,
    });
  }
});

test('a new key changes the tag of /jwks within a second on every node, and a new API that of discovery', async () => {
  const [keysBefore, discoveryBefore] = await Promise.all([tagOf(first, '/jwks'), tagOf(first, DISCOVERY[0] ?? '')]);
  await first.domains.signingKeys.rotate({ algorithm: 'ES256', now: true });
  await bothChange('/jwks', keysBefore);
  await createTestApi(first.domains);
  for (const path of DISCOVERY) await bothChange(path, discoveryBefore);
});

test('a verifier that keeps the document as HTTP says asks once, and verifies what is signed', async () => {
  const api = await createTestApi(first.domains, { tokenFormat: 'jwt', signingAlgorithm: 'RS256' });
  const client = await createServiceClient(first.domains, api.scopes[0]?.scope ?? '');
  const token = await serviceToken(first.address, client);
  const statuses: number[] = [];
  let kept: { tag: string; text: string } | undefined;
  const keys = createRemoteJWKSet(new URL(`${first.address}/jwks`), {
    cacheMaxAge: 0,
    cooldownDuration: 0,
    [customFetch]: async (url, options) => {
      const headers = new Headers(options.headers);
      if (kept !== undefined) headers.set('if-none-match', kept.tag);
      const answer = await fetch(url, { ...options, headers });
      statuses.push(answer.status);
      if (answer.status !== 304) kept = { tag: answer.headers.get('etag') ?? '', text: await answer.text() };
      return new Response(kept?.text ?? '', { status: 200 });
    },
  });
  for (let time = 0; time < 3; time += 1) {
    await jwtVerify(token, keys, { issuer: first.issuer });
    await keys.reload();
  }
  expect(statuses[0]).toBe(200);
  expect(new Set(statuses.slice(1))).toEqual(new Set([304]));
  // What was kept is what the node says now.
  const local = createLocalJWKSet(JSON.parse(kept?.text ?? '') as JSONWebKeySet);
  await expect(jwtVerify(token, local, { issuer: first.issuer })).resolves.toBeDefined();
});
