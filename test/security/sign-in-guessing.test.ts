import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { TestClient } from '../harness/factories.ts';
import type { TestServer } from '../harness/server.ts';

/** argon2 computations since the last look; the module is wrapped before the server is loaded. */
const computations: string[] = [];
jest.unstable_mockModule('argon2', () => {
  const real = jest.requireActual<typeof import('argon2')>('argon2');
  const counted = {
    ...real,
    hash: (...given: Parameters<typeof real.hash>) => {
      computations.push('hash');
      return real.hash(...given);
    },
    verify: (...given: Parameters<typeof real.verify>) => {
      computations.push('verify');
      return real.verify(...given);
    },
  };
  return { ...counted, default: counted };
});
const { createTestAccount, createTestClient, PASSWORD, unique } = await import('../harness/factories.ts');
const { authorizationRequest } = await import('../harness/flows.ts');
const { Person } = await import('../harness/person.ts');
const { startTestServer } = await import('../harness/server.ts');

const ATTEMPTS = 3;
const limits = { SIGN_IN_ATTEMPTS_PER_ACCOUNT: String(ATTEMPTS), SIGN_IN_ATTEMPTS_PER_ADDRESS: '1000' };
const WRONG = 'wrong-password-1';

let direct: TestServer;
let behindProxy: TestServer;
let clients: Map<TestServer, TestClient>;

beforeAll(async () => {
  direct = await startTestServer({ environment: limits });
  behindProxy = await startTestServer({ environment: { ...limits, TRUST_PROXY: '127.0.0.0/8,::1,10.0.0.0/8' } });
  clients = new Map();
  for (const server of [direct, behindProxy]) clients.set(server, await createTestClient(server.domains));
});
afterAll(async () => {
  await direct.close();
  await behindProxy.close();
});

/** One attempt in a new browser. @param from what `X-Forwarded-For` says */
async function attempt(server: TestServer, login: string, password: string, from?: string) {
  const person = new Person(from === undefined ? {} : { 'x-forwarded-for': from });
  const page = await person.open(authorizationRequest(server.issuer, clients.get(server)?.id ?? '').url);
  computations.length = 0;
  const answer = await person.submit(page, { login, password }, '/sign-in');
  const uid = new URL(page.url).pathname.split('/')[2] ?? '';
  return { ...answer, uid, status: answer.response.status, computed: [...computations] };
}

/** Attempts until the limit. @returns how many were looked at */
async function guessUntilLimited(server: TestServer, login: string, from: (turn: number) => string | undefined) {
  for (let turn = 0; turn < ATTEMPTS + 3; turn += 1) {
    if ((await attempt(server, login, WRONG, from(turn))).status === 429) return turn;
  }
  return undefined;
}

describe('an unknown person, a wrong password and a disabled account', () => {
  test('get the same answer, letter for letter, after the same one computation', async () => {
    const known = await createTestAccount(direct.domains);
    const disabled = await createTestAccount(direct.domains);
    await direct.domains.accounts.disable(disabled.account.id);
    const attempts: [string, string][] = [
      [`${unique('nobody')}@example.com`, PASSWORD],
      [unique('nobody'), WRONG],
      [known.login, WRONG],
      [disabled.login, PASSWORD],
      [disabled.login, WRONG],
    ];
    const answers = [];
    for (const [login, password] of attempts) {
      const { response, status, html, uid, computed } = await attempt(direct, login, password);
      const headers = [...response.headers].filter(
        ([name]) => !/^(date|x-request-id|set-cookie|content-length)$/.test(name),
      );
      const body = html
        .replaceAll(login, 'LOGIN')
        .replaceAll(uid, 'UID')
        .replace(/name="_csrf" value="[^"]*"/, '')
        .replaceAll(response.headers.get('x-request-id') ?? '', '');
      answers.push({ status, computed, headers, cookies: response.headers.getSetCookie().length, body });
    }
    expect(answers[0]).toMatchObject({ status: 400, computed: ['verify'] });
    for (const answer of answers) expect(answer).toEqual(answers[0]);
  });

  test('are limited alike, so that the limit does not tell who exists', async () => {
    const { login } = await createTestAccount(direct.domains);
    const disabled = await createTestAccount(direct.domains);
    await direct.domains.accounts.disable(disabled.account.id);
    for (const name of [login, disabled.login, `${unique('nobody')}@example.com`]) {
      expect(await guessUntilLimited(direct, name, () => undefined)).toBe(ATTEMPTS);
    }
  });
});

describe('guessing', () => {
  test('ends on a page with 429 and Retry-After, where not even the right password is looked at', async () => {
    const { login, password } = await createTestAccount(direct.domains);
    await guessUntilLimited(direct, login, () => undefined);
    const { response, status, html, computed } = await attempt(direct, login, password);
    expect(status).toBe(429);
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(computed).toEqual([]);
    expect(html).toContain('name="password"');
    expect(html).not.toContain(password);
  });

  test('that goes on after the limit does not fill the audit trail: it says so once', async () => {
    const { login } = await createTestAccount(behindProxy.domains);
    const from = '203.0.113.200';
    for (let turn = 0; turn < ATTEMPTS; turn += 1) await attempt(behindProxy, login, WRONG, from);
    for (let turn = 0; turn < 8; turn += 1) expect((await attempt(behindProxy, login, WRONG, from)).status).toBe(429);
    const rows = await behindProxy.domains.database.knex('audit_events').where({ type: 'sign_in.limited' });
    expect(rows.filter((row) => JSON.stringify(row).includes(from))).toHaveLength(1);
  });

  test('at once is counted as if one after the other', async () => {
    const { login } = await createTestAccount(direct.domains);
    const answers = await Promise.all(Array.from({ length: 12 }, () => attempt(direct, login, WRONG)));
    expect(answers.filter(({ status }) => status === 400)).toHaveLength(ATTEMPTS);
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(12 - ATTEMPTS);
  });

  test('in other letters or with blanks around is the same name', async () => {
    const { login } = await createTestAccount(direct.domains);
    const spellings = [login, login.toUpperCase(), ` ${login} `, `${login}\t`];
    const statuses = [];
    for (const spelling of spellings) statuses.push((await attempt(direct, spelling, WRONG)).status);
    expect(statuses).toEqual([400, 400, 400, 429]);
  });

  test('does not lock the person out who signs in from elsewhere', async () => {
    const { login, password } = await createTestAccount(behindProxy.domains);
    await guessUntilLimited(behindProxy, login, () => '203.0.113.66');
    expect((await attempt(behindProxy, login, password, '203.0.113.66')).status).toBe(429);
    const victim = await attempt(behindProxy, login, password, '198.51.100.7');
    expect(victim.status).toBe(200);
    expect(victim.html).toContain('name="decision"');
  });
});

describe('the address that counts', () => {
  test('is that of the peer, whatever a stranger says of forwarding', async () => {
    const { login } = await createTestAccount(direct.domains);
    expect(await guessUntilLimited(direct, login, (turn) => `203.0.113.${turn}`)).toBe(ATTEMPTS);
  });

  test('is the right-most that no proxy of ours vouches for, whatever stands before it', async () => {
    const { login } = await createTestAccount(behindProxy.domains);
    const from = (turn: number) => `192.0.2.${turn}, 203.0.113.9, 10.1.2.3`;
    expect(await guessUntilLimited(behindProxy, login, from)).toBe(ATTEMPTS);
    expect((await attempt(behindProxy, login, WRONG, '203.0.113.10, 10.1.2.3')).status).toBe(400);
  });

  test('is a /64 of IPv6, which is the least that anyone has', async () => {
    const { login } = await createTestAccount(behindProxy.domains);
    expect(await guessUntilLimited(behindProxy, login, (turn) => `2001:db8::${turn}`)).toBe(ATTEMPTS);
  });

  test.each(['garbage', '', ',,,', 'unknown', '1.2.3.4.5', '::ffff:999.1.1.1', '<script>', '127.0.0.1'])(
    'may be nonsense from our proxy (%s) and still is no fault',
    async (from) => {
      const { login } = await createTestAccount(behindProxy.domains);
      expect([400, 429]).toContain((await attempt(behindProxy, login, WRONG, from)).status);
    },
  );

  test('is the one in the audit trail', async () => {
    const { account, login } = await createTestAccount(behindProxy.domains);
    await attempt(behindProxy, login, WRONG, '6.6.6.6, 203.0.113.77');
    const row = await behindProxy.domains.database
      .knex('audit_events')
      .where({ type: 'sign_in.failed', account_id: account.id })
      .first();
    expect(JSON.stringify(row)).toContain('203.0.113.77');
    expect(JSON.stringify(row)).not.toContain('6.6.6.6');
  });
});
