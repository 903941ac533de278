import { randomInt } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { askForCodes, createDeviceClient, enterCode, poll } from '../harness/devices.ts';
import type { TestClient } from '../harness/factories.ts';
import { errorOnPage, Person } from '../harness/person.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';

const TRIES = 3;
const LETTERS = 'BCDFGHJKLMNPQRSTVWXZ';

let server: TestServer;
let client: TestClient;
beforeAll(async () => {
  server = await startTestServer({
    environment: { USER_CODE_ATTEMPTS_PER_ADDRESS: String(TRIES), TRUST_PROXY: '127.0.0.0/8,::1' },
  });
  client = await createDeviceClient(server.domains);
});
afterAll(() => server.close());

const from = (address: string) => new Person({ 'x-forwarded-for': address });
const guess = () => Array.from({ length: 8 }, () => LETTERS[randomInt(LETTERS.length)]).join('');
const isAsked = (html: string) => html.includes('Is this your device?');

async function limitedEvents(): Promise<{ address: string | null }[]> {
  return server.domains.database.knex('audit_events').where({ type: 'user_code.limited' });
}

test('who guesses is soon refused, not even the right code is looked at, and the trail says so once', async () => {
  const { user_code } = await askForCodes(server.issuer, client);
  const address = '203.0.113.10';
  for (let turn = 0; turn < TRIES; turn += 1) {
    expect((await enterCode(server.issuer, from(address), guess())).response.status).toBe(400);
  }
  for (const code of [guess(), user_code, guess()]) {
    const { response, html } = await enterCode(server.issuer, from(address), code);
    expect({ status: response.status, error: errorOnPage(html) }).toEqual({ status: 429, error: 'slow_down' });
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(800);
    expect(html).toContain('Too many attempts');
    expect(isAsked(html)).toBe(false);
  }
  expect(isAsked((await enterCode(server.issuer, from('203.0.113.11'), user_code)).html)).toBe(true);
  const events = await limitedEvents();
  expect(events.length).toBe(1);
  expect(JSON.stringify(events)).toContain(address);
});

test('of guesses at once as many as are allowed are looked at', async () => {
  const guesses = await Promise.all(
    Array.from({ length: 20 }, () => enterCode(server.issuer, from('203.0.113.20'), guess())),
  );
  const statuses = guesses.map(({ response }) => response.status).sort();
  expect(statuses).toEqual([...Array<number>(TRIES).fill(400), ...Array<number>(20 - TRIES).fill(429)]);
});

test('wrong codes count for all addresses together, and right ones do not', async () => {
  const { knex } = server.domains.database;
  const wrong = async () => {
    const row = await knex('sign_in_attempts').where('key', 'like', 'wrong-user-codes:%').first();
    return Number(row?.points ?? 0);
  };
  const before = await wrong();
  await enterCode(server.issuer, from('203.0.113.50'), guess());
  await enterCode(server.issuer, from('203.0.113.51'), guess());
  await enterCode(server.issuer, from('203.0.113.52'), (await askForCodes(server.issuer, client)).user_code);
  expect((await wrong()) - before).toBe(2);
});

test('who types right codes is not counted, and neither is what a device polls', async () => {
  const person = from('203.0.113.30');
  for (let turn = 0; turn < TRIES + 2; turn += 1) {
    const { user_code, device_code } = await askForCodes(server.issuer, client);
    await poll(server.issuer, client, device_code);
    const page = await enterCode(server.issuer, person, user_code);
    expect(isAsked(page.html)).toBe(true);
    await person.submit(page, { confirm: 'yes' }, '/device');
  }
});

test('a user code is of no use as a device code, and the other way round', async () => {
  const { user_code, device_code } = await askForCodes(server.issuer, client);
  for (const code of [user_code, user_code.replace('-', '')]) {
    expect((await poll(server.issuer, client, code)).body.error).toBe('invalid_grant');
  }
  expect(isAsked((await enterCode(server.issuer, from('203.0.113.40'), device_code)).html)).toBe(false);
});
