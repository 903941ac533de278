import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { DROPS_CHANNEL } from '../../../src/tokens/artifact-endings-store.ts';
import { keyOf } from '../../../src/tokens/artifact-row.ts';
import type { StatementRunner } from '../../../src/tokens/artifact-statements-store.ts';
import { createPostgresArtifactStore } from '../../../src/tokens/index.ts';
import { createAesSealer } from '../../integration/tokens/aes-sealer.ts';

type Statement = { name: string | undefined; ids: string[]; answer(rows: readonly object[]): void };

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A store whose statements are answered when the test says so, by a database that is two tokens of one grant. */
function heldStore() {
  const statements: Statement[] = [];
  const runner: StatementRunner = {
    query: <Row extends Record<string, unknown>>({ name, values }: { name?: string; values: unknown[] }) =>
      new Promise<{ rows: Row[]; rowCount: number | null }>((resolve) => {
        const ids = String(values[0]).match(/[0-9a-f]{64}/g) ?? [];
        statements.push({ name, ids, answer: (rows) => resolve({ rows: rows as Row[], rowCount: rows.length }) });
      }),
  };
  const feed = { isListening: true, tell: (_message: string | undefined): void => undefined };
  const store = createPostgresArtifactStore({
    pool: runner,
    sealer: createAesSealer(randomBytes(32)),
    userCodeKey: () => randomBytes(32),
    clock: () => 0,
    cache: {
      size: 100,
      now: () => 0,
      dropFeed: {
        isListening: () => feed.isListening,
        hear(channel, listener) {
          if (channel === DROPS_CHANNEL) feed.tell = listener;
        },
      },
    },
  });
  return { store, statements, feed };
}

function row(kind: 'AccessToken' | 'Grant', value: string, payload: object = {}) {
  const id = keyOf(kind, value);
  return { key: id, id, kind, payload: JSON.stringify(payload), sealed: null, consumed_at: null, expires_at: null };
}

const token = row('AccessToken', 't', { grantId: 'g' });
const grant = row('Grant', 'g', { clientId: 'c' });

/** As the library verifies a token. */
async function verify(store: ReturnType<typeof heldStore>['store'], value = 't') {
  const reader = store.openTokenReader();
  const kinds = ['AccessToken', 'ClientCredentials', 'RefreshToken'] as const;
  const [access, credentials, refresh] = await Promise.all(kinds.map((kind) => reader.find(kind, value)));
  return { access, credentials, refresh, grant: access && (await reader.find('Grant', String(access.grantId))) };
}

/** What comes of `work` where the database finds nothing from now on. */
async function whenAllIsGone<T>(statements: readonly Statement[], work: Promise<T>): Promise<T> {
  let isDone = false;
  const done = work.finally(() => {
    isDone = true;
  });
  while (!isDone) {
    await turn();
    for (const statement of statements) statement.answer([]);
  }
  return done;
}

const expected = {
  access: { grantId: 'g', jti: 't' },
  credentials: undefined,
  refresh: undefined,
  grant: { clientId: 'c', jti: 'g' },
};

describe('a token reader', () => {
  test('asks for all kinds of a token and for its grant in one statement', async () => {
    const { store, statements } = heldStore();
    const verified = verify(store);
    await turn();
    expect(statements.map(({ ids }) => ids.toSorted())).toEqual([
      [keyOf('AccessToken', 't'), keyOf('ClientCredentials', 't'), keyOf('RefreshToken', 't')].toSorted(),
    ]);
    statements[0]?.answer([token, grant]);
    expect(await verified).toEqual(expected);
    expect(statements).toHaveLength(1);
  });

  test('of a token and grant that are held asks nothing, and hands out copies', async () => {
    const { store, statements } = heldStore();
    const first = verify(store);
    await turn();
    statements[0]?.answer([token, grant]);
    Object.assign((await first).access ?? {}, { grantId: 'changed by the caller' });
    expect(await verify(store)).toEqual(expected);
    expect(statements).toHaveLength(1);
    expect(store.counts()).toEqual({ statements: { 'artifacts-tokens': 1 }, cache: { hits: 2, misses: 1 } });
  });

  test('asks again for what was not there', async () => {
    const { store, statements } = heldStore();
    for (const count of [1, 2]) {
      const verified = verify(store, 'unknown');
      await turn();
      expect(statements).toHaveLength(count);
      statements[count - 1]?.answer([]);
      expect((await verified).access).toBeUndefined();
    }
  });

  test.each([
    ['the token', token.id],
    ['the grant', grant.id],
    ['another and the token', `${grant.id.replaceAll('0', '1')},${token.id}`],
    ['everything', ''],
    ['what may have been missed', undefined],
  ])('does not keep what it was reading while a message named %s', async (_, message) => {
    const { store, statements, feed } = heldStore();
    const verified = verify(store);
    await turn();
    feed.tell(message);
    statements[0]?.answer([token, grant]);
    expect(await verified).toEqual(expected);
    const { access, grant: grantAgain } = await whenAllIsGone(statements, verify(store));
    expect(access && grantAgain).toBeUndefined();
  });

  test('nor while this very process was ending it', async () => {
    const { store, statements } = heldStore();
    const [verified, destroyed] = [verify(store), store.destroy('AccessToken', 't')];
    await turn();
    const [read, deletion] = statements;
    deletion?.answer([{ count: 1, keys: token.id }]);
    await destroyed;
    read?.answer([token, grant]);
    await verified;
    expect((await whenAllIsGone(statements, verify(store))).access).toBeUndefined();
  });

  test('looks past the cache while the feed does not listen', async () => {
    const { store, statements, feed } = heldStore();
    const first = verify(store);
    await turn();
    statements[0]?.answer([token, grant]);
    await first;
    feed.isListening = false;
    expect((await whenAllIsGone(statements, verify(store))).access).toBeUndefined();
  });
});
