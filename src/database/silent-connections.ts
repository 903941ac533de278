import type { Knex } from 'knex';
import type pg from 'pg';
import { isSilence } from './database-faults.ts';
import { refuseStandby } from './primary.ts';

/**
 * What was asked on the other connections when one proved silent may yet be answered, and is within milliseconds where
 * they are good. After this, in milliseconds, they are given up as well: else whoever asked just before would wait the
 * whole time once more, and a failover would take twice as long as an answer is waited for.
 */
const LAST_CHANCE_MS = 1_000;

/** What knex notes on a connection: its name, and why it must not be used again (as in its own lib/execution/runner.js). */
type KnexConnection = pg.Client & { __knexUid: string; __knex__disposed?: unknown };
type KnexQuery = { __knexUid: string };
/** To be handed to knex as `afterCreate`. */
type AfterCreate = (
  connection: KnexConnection,
  done: (error: Error | undefined, connection: KnexConnection) => void,
) => void;

/**
 * Gives up on the connections of both pools once one of them is silent: where one is so are the others, and each would
 * cost a request its whole wait. None of those that are there is used for another question. knex would take one on which
 * an answer didn't come in time for as good as new, and whatever is asked next would wait behind the question that nobody
 * answers.
 */
export function createSilenceGuard(): {
  afterCreate: AfterCreate;
  watch(pools: { pool: pg.Pool; builder: Knex }): void;
} {
  const ofKnex = new Map<string, KnexConnection>();
  /** Connections on which an answer is waited for, each with a token for the question. */
  const asked = new Map<pg.Client, symbol>();

  function ask(connection: pg.Client | undefined): void {
    if (connection !== undefined) asked.set(connection, Symbol('question'));
  }

  function hear(connection: pg.Client | undefined): void {
    if (connection !== undefined) asked.delete(connection);
  }

  function giveUp(pool: pg.Pool, silence: Error): void {
    for (const connection of ofKnex.values()) connection.__knex__disposed ??= silence;
    discardIdle(pool);
    const questions = [...asked];
    const end = () => {
      for (const [connection, question] of questions) if (asked.get(connection) === question) void connection.end();
    };
    setTimeout(end, LAST_CHANCE_MS).unref();
  }

  return {
    afterCreate(connection, done) {
      ofKnex.set(connection.__knexUid, connection);
      connection.once('end', () => {
        ofKnex.delete(connection.__knexUid);
        hear(connection);
      });
      refuseStandby(connection).then(
        () => done(undefined, connection),
        (error: Error) => {
          // knex forgets a connection that is refused here, and leaves it open.
          void connection.end();
          done(error, connection);
        },
      );
    },
    watch({ pool, builder }) {
      // The token store takes a connection for one question and gives it back with the answer.
      pool.on('acquire', (client) => ask(client as pg.PoolClient & pg.Client));
      pool.on('release', (error: unknown, client) => {
        hear(client as pg.PoolClient & pg.Client);
        if (isSilence(error)) giveUp(pool, error);
      });
      builder.on('query', ({ __knexUid }: KnexQuery) => ask(ofKnex.get(__knexUid)));
      builder.on('query-response', (_: unknown, { __knexUid }: KnexQuery) => hear(ofKnex.get(__knexUid)));
      builder.on('query-error', (error: unknown, { __knexUid }: KnexQuery) => {
        hear(ofKnex.get(__knexUid));
        if (!isSilence(error)) return;
        giveUp(pool, error);
        // At once, so that a transaction doesn't wait for its rollback as well.
        void ofKnex.get(__knexUid)?.end();
      });
    },
  };
}

/** `pg.Pool` drops the silent one itself; those that wait beside it can be had only by taking them. */
function discardIdle(pool: pg.Pool): void {
  for (let count = pool.idleCount; count > 0; count -= 1) {
    pool.connect().then(
      (client) => {
        // With a question open it is cut off; else it would wait for an answer to its good-bye, and others for its place.
        client.query('select 1').catch(() => undefined);
        client.release(true);
      },
      // Taken by another, or the pool has ended.
      () => undefined,
    );
  }
}
