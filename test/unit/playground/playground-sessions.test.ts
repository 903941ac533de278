import { describe, expect, test } from '@jest/globals';
import type { Context } from 'koa';
import {
  createPlaygroundSessions,
  type PendingFlow,
  remember,
  takePending,
} from '../../../src/playground/playground-sessions.ts';

const MINUTE_MS = 60_000;

/** A browser, as far as cookies go. */
function browser(): Context & { set: { name: string; value: string | null; options: object }[] } {
  const set: { name: string; value: string | null; options: object }[] = [];
  return {
    set,
    cookies: {
      get: (name: string) => set.findLast((cookie) => cookie.name === name)?.value ?? undefined,
      set: (name: string, value: string | null, options: object) => set.push({ name, value, options }),
    },
  } as unknown as ReturnType<typeof browser>;
}

function sessionsAt(start = 0, isSecure = false) {
  const time = { now: start };
  return { time, sessions: createPlaygroundSessions({ clock: () => time.now, isSecure }) };
}

function flow(state: string): PendingFlow {
  return { state, codeVerifier: 'v', nonce: 'n', parameters: {}, url: 'http://localhost/authorize' };
}

describe('a session of the playground', () => {
  test('belongs to one browser', () => {
    const { sessions } = sessionsAt();
    const [mine, other] = [browser(), browser()];
    const session = sessions.open(mine);
    expect(sessions.find(mine)).toBe(session);
    expect(sessions.open(mine)).toBe(session);
    expect(sessions.find(other)).toBeUndefined();
    expect(sessions.open(other)).not.toBe(session);
  });

  test('has a cookie that no script reads and that goes to the playground alone', () => {
    const { sessions } = sessionsAt(0, true);
    const mine = browser();
    sessions.open(mine);
    expect(mine.set).toEqual([
      {
        name: '__Secure-tessera_playground',
        value: expect.stringMatching(/^[\w-]{43}$/),
        options: { httpOnly: true, sameSite: 'lax', secure: true, path: '/playground' },
      },
    ]);
  });

  test('is gone half an hour after its last use', () => {
    const { time, sessions } = sessionsAt();
    const mine = browser();
    const session = sessions.open(mine);
    time.now += 29 * MINUTE_MS;
    expect(sessions.find(mine)).toBe(session);
    time.now += 29 * MINUTE_MS;
    expect(sessions.find(mine)).toBe(session);
    time.now += 30 * MINUTE_MS;
    expect(sessions.find(mine)).toBeUndefined();
  });

  test('makes room when there are too many: the longest unused first', () => {
    const { sessions } = sessionsAt();
    const [first, second] = [browser(), browser()];
    for (const one of [first, second, ...Array.from({ length: 198 }, browser)]) sessions.open(one);
    sessions.find(first);
    sessions.open(browser());
    expect(sessions.find(first)).toBeDefined();
    expect(sessions.find(second)).toBeUndefined();
  });

  test('ends when its person signs out', () => {
    const { sessions } = sessionsAt();
    const mine = browser();
    sessions.open(mine);
    sessions.end(mine);
    expect(sessions.find(mine)).toBeUndefined();
    expect(mine.set.at(-1)).toMatchObject({ value: null, options: { path: '/playground' } });
  });
});

describe('a flow that waits for its answer', () => {
  test('is answered once, by its own state', () => {
    const session = sessionsAt().sessions.open(browser());
    remember(session, flow('a'));
    expect(takePending(session, 'b')).toBeUndefined();
    expect(takePending(session, undefined)).toBeUndefined();
    expect(takePending(session, 'a')?.state).toBe('a');
    expect(takePending(session, 'a')).toBeUndefined();
    expect(takePending(undefined, 'a')).toBeUndefined();
  });

  test('is one of ten at the most: the oldest makes room', () => {
    const session = sessionsAt().sessions.open(browser());
    for (let count = 0; count <= 10; count += 1) remember(session, flow(String(count)));
    expect([...session.pending.keys()]).toEqual(['1', '2', '3', '4', '5', '6', '7', '8', '9', '10']);
  });
});
