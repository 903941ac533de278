import { describe, expect, test } from '@jest/globals';
import type { Api } from '../../../src/clients/index.ts';
import { createDescribedClients } from '../../../src/clients/index.ts';

const URL_OF_CLIENT = 'https://agent.example.com/client.json';
const DOCUMENT = { client_id: URL_OF_CLIENT, redirect_uris: ['https://agent.example.com/callback'] };
const JSON_TYPE = { 'content-type': 'application/json' };
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const OPEN = { identifier: 'https://mcp.example.com', isOpenToUnregistered: true, scopes: [{ scope: 'tools' }] };

function setUp() {
  const state = {
    now: 1_000_000,
    answer: async (): Promise<Response> => Response.json(DOCUMENT),
    apis: [OPEN] as unknown as readonly Api[],
    isBlocked: false,
    mayFetch: true,
    asked: [] as string[],
    askedFrom: [] as (string | undefined)[],
  };
  const clients = createDescribedClients({
    fetch: (url) => {
      state.asked.push(url);
      return state.answer();
    },
    apis: { all: () => state.apis },
    blocks: { isBlocked: async () => state.isBlocked },
    limits: {
      take: async (_host, askedFrom) => {
        state.askedFrom.push(askedFrom);
        return state.mayFetch;
      },
    },
    clock: () => state.now,
  });
  return { state, clients, find: () => clients.find(URL_OF_CLIENT, { askedFrom: '192.0.2.1' }) };
}

describe('a client that nobody registered', () => {
  test('is what its document says, with what is open to it', async () => {
    const { find, state } = setUp();
    expect(await find()).toMatchObject({
      id: URL_OF_CLIENT,
      origin: 'document',
      apis: [OPEN.identifier],
      roles: [],
      mayIntrospectAny: false,
      metadata: { scope: 'openid profile email address phone offline_access tools' },
    });
    expect(state.askedFrom).toEqual(['192.0.2.1']);
  });

  test('is the same object until its document or an API changes', async () => {
    const { find, state } = setUp();
    const first = await find();
    expect(await find()).toBe(first);
    state.apis = [];
    expect(await find()).toMatchObject({ apis: [], metadata: { scope: expect.not.stringContaining('tools') } });
  });

  test('is asked for once by all who ask at one time, and again only when it is no longer fresh', async () => {
    const { find, state } = setUp();
    await Promise.all([find(), find(), find()]);
    state.now += 5 * MINUTE - 1;
    await find();
    expect(state.asked).toEqual([URL_OF_CLIENT]);
    state.now += 1;
    await find();
    expect(state.asked).toHaveLength(2);
  });

  test.each([
    ['no-store', MINUTE],
    ['max-age=1', MINUTE],
    ['private', 5 * MINUTE],
    ['public, max-age=7200', 2 * HOUR],
    ['max-age=999999999', 24 * HOUR],
  ])('is fresh as long as it says within bounds: %s', async (cacheControl, freshMs) => {
    const { find, state } = setUp();
    state.answer = async () => Response.json(DOCUMENT, { headers: { 'cache-control': cacheControl } });
    await find();
    state.now += freshMs - 1;
    await find();
    expect(state.asked).toHaveLength(1);
    state.now += 1;
    await find();
    expect(state.asked).toHaveLength(2);
  });

  test('that could not be had is not asked for again within half a minute', async () => {
    const { find, state, clients } = setUp();
    state.answer = () => Promise.reject(new Error('10.1.2.3 is not a public address'));
    expect(await find()).toBeUndefined();
    expect(await find()).toBeUndefined();
    expect(state.asked).toHaveLength(1);
    // Of our own network it tells nobody anything.
    expect(clients.reasonOf(URL_OF_CLIENT)).toBe('could not be fetched');
    state.answer = async () => Response.json(DOCUMENT);
    state.now += 30_000;
    expect(await find()).toBeDefined();
  });

  test.each([
    ['is not there', () => new Response('', { status: 404, headers: JSON_TYPE }), /404/],
    ['is elsewhere', () => new Response('', { status: 302, headers: { location: 'https://x.example/' } }), /302/],
    ['is a page', () => new Response(JSON.stringify(DOCUMENT), { headers: { 'content-type': 'text/html' } }), /media/],
    ['is no JSON', () => new Response('{', { headers: JSON_TYPE }), /JSON/],
    ['is endless', () => new Response(' '.repeat(16_385), { headers: JSON_TYPE }), /larger/],
    ['is of another', () => Response.json({ ...DOCUMENT, client_id: 'https://x.example/c' }), /another client_id/],
  ])('is none where its document %s', async (_, answer, reason) => {
    const { find, state, clients } = setUp();
    state.answer = async () => answer();
    expect(await find()).toBeUndefined();
    expect(clients.reasonOf(URL_OF_CLIENT)).toMatch(reason);
  });

  test('stays for a day where its host is away, and no longer', async () => {
    const { find, state } = setUp();
    await find();
    state.answer = async () => new Response('', { status: 503 });
    state.now += 23 * HOUR;
    expect(await find()).toBeDefined();
    expect(await find()).toBeDefined();
    expect(state.asked).toHaveLength(2);
    state.now += HOUR;
    expect(await find()).toBeUndefined();
  });

  test('is gone at once where its host says so', async () => {
    const { find, state } = setUp();
    await find();
    state.answer = async () => new Response('', { status: 404 });
    state.now += HOUR;
    expect(await find()).toBeUndefined();
  });

  test('is not fetched for who asks too often, and the next one may', async () => {
    const { find, state } = setUp();
    state.mayFetch = false;
    expect(await find()).toBeUndefined();
    expect(state.asked).toEqual([]);
    state.mayFetch = true;
    expect(await find()).toBeDefined();
  });

  test('that is blocked is neither fetched nor known', async () => {
    const { find, state, clients } = setUp();
    await find();
    state.isBlocked = true;
    expect(await find()).toBeUndefined();
    expect(await clients.find(URL_OF_CLIENT, { isHolder: true })).toBeUndefined();
    expect(state.asked).toHaveLength(1);
  });

  test('holds its tokens whether its host is there or not', async () => {
    const { clients, state } = setUp();
    expect(await clients.find(URL_OF_CLIENT, { isHolder: true })).toMatchObject({ id: URL_OF_CLIENT, apis: [] });
    expect(state.asked).toEqual([]);
  });

  test('has an id that is such a URL', async () => {
    const { clients, state } = setUp();
    expect(await clients.find('agent')).toBeUndefined();
    expect(clients.reasonOf('agent')).toBeUndefined();
    expect(state.asked).toEqual([]);
  });
});
