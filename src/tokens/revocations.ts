import type { Knex } from 'knex';
import type { Clock } from '../config/index.ts';
import type { ChangeFeed } from '../database/index.ts';
import { isStorable } from './artifact-references.ts';
import { createBatcher, isFaultOfOneRow } from './batching.ts';
import {
  deleteExpiredRevocations,
  insertRevocations,
  type NewRevocation,
  type Revocation,
  type RevocationCursor,
  type RevocationKind,
  selectRevocations,
} from './revocations-store.ts';

/** What a stateless token says of itself, once its signature was verified. */
type StatelessToken = {
  jti: string;
  /** Whom it was issued to. */
  clientId: string;
  /** Whom it is about. */
  accountId: string;
  /** The revision that its node knew when the request for it began; 0 where it bears none. */
  revision: number;
};

/**
 * What ends stateless tokens before their time, held whole in the memory of every node.
 *
 * A client or an account is revoked by a mark: it ends every token that bears a lower revision than its own. Revisions are
 * counted by the database, because times can't tell: clocks of nodes differ, and `iat` has whole seconds. A token of a
 * node that has not heard of the mark yet bears a lower revision, too, and is dead from the start.
 */
export type Revocations = Readonly<{
  /** Reads all there is; to be called before the first `isRevoked`. @throws the database's own error */
  load(): Promise<void>;
  /** The latest revision whose revocations are all known here. */
  revision(): number;
  /** From memory, in constant time. */
  isRevoked(token: StatelessToken): boolean;
  /**
   * Ends one token; beyond what may be held of its client, every token that was issued to the client until now.
   *
   * @param token.exp its expiry, in epoch seconds
   * @returns what ended, when it is durable and known here, as for the two below
   */
  revokeToken(token: { jti: string; clientId: string; exp: number }): Promise<'token' | 'client'>;
  /** Ends every token that was issued to the client, on whatever node. */
  revokeClient(clientId: string): Promise<void>;
  /** Ends every token that is about the account, on whatever node. */
  revokeAccount(accountId: string): Promise<void>;
  /** How many tokens and marks are held here. */
  heldCount(): number;
  /** Removes expired rows, at most `batchSize`. @returns how many */
  sweep(batchSize: number): Promise<number>;
  /** Waits for what is being written. */
  close(): Promise<void>;
}>;

/**
 * Beyond the expiry of what it ends. Covers the tolerance of 15 s with which expiry is checked, a sweeper whose clock is
 * half a minute ahead of the one that checks, and then some: a row costs little, a token that revives does not.
 */
const RETENTION_MARGIN_MS = 300_000;
/**
 * Tokens of one client that are held one by one: about 2 MB in every process. Nobody means so many single ones; who
 * revokes more means all of them, and could fill every node's memory, beyond which no revocation is honoured.
 */
const MAX_TOKENS_OF_CLIENT = 10_000;
/** What PostgreSQL and ISO 8601 agree on (the end of the year 9999), in epoch milliseconds. */
const LATEST_EXPIRY = 253_402_300_799_000;
/** Rows of about 100 bytes; one answer stays far below a megabyte. */
const PAGE_SIZE = 5_000;
/** Looking through 100,000 entries takes a few milliseconds, too much for every request and nothing for one a minute. */
const PRUNE_INTERVAL_MS = 60_000;

/**
 * @param dependencies.changeFeed tells of what other nodes revoke, and that something may have been missed
 * @param dependencies.longestTokenSeconds no stateless token lives longer
 */
export function createRevocations(dependencies: {
  knex: Knex;
  changeFeed: Pick<ChangeFeed, 'subscribe'>;
  clock: Clock;
  longestTokenSeconds: number;
}): Revocations {
  const { knex, clock, longestTokenSeconds } = dependencies;
  /** By client and `jti`. */
  const tokens = new Map<string, Map<string, Revocation>>();
  const marks = { client: new Map<string, Revocation>(), account: new Map<string, Revocation>() };
  let known = 0;
  let prunedAt = clock();
  let reading: Promise<void> = Promise.resolve();
  let nextReading: Promise<void> | undefined;

  const mark = (kind: 'client' | 'account', value: string): NewRevocation => ({
    kind,
    value,
    expiresAt: clock() + longestTokenSeconds * 1_000 + RETENTION_MARGIN_MS,
  });

  const writes = createBatcher<NewRevocation, 'token' | 'client' | 'account'>({
    isFaultOfOneRow,
    async run(revocations) {
      const bounded = revocations.map((revocation) => {
        if (revocation.kind !== 'token') return revocation;
        const count = tokens.get(revocation.clientId)?.size ?? 0;
        return count < MAX_TOKENS_OF_CLIENT ? revocation : mark('client', revocation.clientId);
      });
      await insertRevocations(knex, untilTheLatest(bounded), clock());
      return bounded.map(({ kind }) => kind);
    },
  });

  function hold(revocation: Revocation): void {
    if (revocation.kind === 'token') {
      const ofClient = tokens.get(revocation.clientId) ?? new Map<string, Revocation>();
      tokens.set(revocation.clientId, ofClient.set(revocation.value, revocation));
      return;
    }
    marks[revocation.kind].set(revocation.value, revocation);
    if (revocation.kind === 'account') return;
    const replaced = tokens.get(revocation.value);
    if (replaced !== undefined) forget(replaced, ({ revision }) => revision < revocation.revision);
    if (replaced?.size === 0) tokens.delete(revocation.value);
  }

  async function readOn(): Promise<void> {
    let cursor: RevocationCursor = { revision: known + 1, kind: '', value: '' };
    let page: Revocation[];
    do {
      page = await selectRevocations(knex, cursor, PAGE_SIZE);
      for (const revocation of page) hold(revocation);
      cursor = page.at(-1) ?? cursor;
    } while (page.length === PAGE_SIZE);
    // Not before the end: a revision of which some is missing is not known.
    if (cursor.kind !== '') known = cursor.revision;
    // A node that is asked about no token would never forget any.
    prune(clock());
  }

  /** Reads what was committed before the call: a reading under way may have begun before that, and is waited for. */
  function refresh(): Promise<void> {
    nextReading ??= reading
      .catch(() => undefined)
      .then(() => {
        nextReading = undefined;
        reading = readOn();
        return reading;
      });
    return nextReading;
  }

  function prune(now: number): void {
    if (Math.abs(now - prunedAt) < PRUNE_INTERVAL_MS) return;
    prunedAt = now;
    for (const entries of [marks.client, marks.account, ...tokens.values()])
      forget(entries, ({ expiresAt }) => expiresAt <= now);
    for (const [clientId, ofClient] of tokens) if (ofClient.size === 0) tokens.delete(clientId);
  }

  async function revoke(revocation: NewRevocation): Promise<RevocationKind> {
    // What no column can hold nobody bears.
    if (!isStorable(revocation.value)) return revocation.kind;
    const kind = await writes.submit(revocation);
    await refresh();
    return kind;
  }

  const isMarked = (kind: 'client' | 'account', id: string, revision: number) =>
    revision < (marks[kind].get(id)?.revision ?? 0);

  dependencies.changeFeed.subscribe('revocations', refresh);
  return Object.freeze({
    load: refresh,
    revision: () => known,
    isRevoked({ jti, clientId, accountId, revision }: StatelessToken) {
      prune(clock());
      return (
        tokens.get(clientId)?.has(jti) === true ||
        isMarked('client', clientId, revision) ||
        isMarked('account', accountId, revision)
      );
    },
    async revokeToken({ jti, clientId, exp }: { jti: string; clientId: string; exp: number }) {
      const expiresAt = Math.min(exp * 1_000 + RETENTION_MARGIN_MS, LATEST_EXPIRY);
      const ended = await revoke({ kind: 'token', value: jti, clientId, expiresAt });
      return ended === 'client' ? 'client' : 'token';
    },
    async revokeClient(clientId: string) {
      await revoke(mark('client', clientId));
    },
    async revokeAccount(accountId: string) {
      await revoke(mark('account', accountId));
    },
    heldCount: () => [marks.client, marks.account, ...tokens.values()].reduce((sum, { size }) => sum + size, 0),
    sweep: (batchSize: number) => deleteExpiredRevocations(knex, { size: batchSize, before: clock() }),
    close: () => writes.drain(),
  });
}

function forget(entries: Map<string, Revocation>, isOver: (revocation: Revocation) => boolean): void {
  for (const [value, revocation] of entries) if (isOver(revocation)) entries.delete(value);
}

/** Of those that end the same (a client's mark ends its tokens, too), one that counts for as long as any: ON CONFLICT can't touch a row twice in one statement. */
function untilTheLatest(revocations: readonly NewRevocation[]): NewRevocation[] {
  const byKey = new Map<string, NewRevocation>();
  const marked = new Set(revocations.flatMap(({ kind, value }) => (kind === 'client' ? [value] : [])));
  for (const each of revocations) {
    const revocation: NewRevocation =
      each.kind === 'token' && marked.has(each.clientId)
        ? { kind: 'client', value: each.clientId, expiresAt: each.expiresAt }
        : each;
    const key = `${revocation.kind} ${revocation.value}`;
    const expiresAt = Math.max(revocation.expiresAt, byKey.get(key)?.expiresAt ?? 0);
    byKey.set(key, { ...revocation, expiresAt });
  }
  return [...byKey.values()];
}
