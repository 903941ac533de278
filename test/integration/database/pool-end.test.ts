import { afterEach, beforeEach, expect, test } from '@jest/globals';
import pg from 'pg';
import { watchPool } from '../../../src/database/pool-end.ts';
import { openTestDatabase, query, type TestDatabase } from '../../harness/database.ts';

const SIZE = 10;
const NAME = 'pool that ends';

let database: TestDatabase;
beforeEach(async () => {
  database = await openTestDatabase();
});
afterEach(() => database.close());

/** A pool whose connections are all open and idle. */
async function usedPool(onLoss: (error: Error) => void) {
  const pool = new pg.Pool({ connectionString: database.url, max: SIZE, application_name: NAME });
  const watched = watchPool(pool, onLoss);
  const connections = await Promise.all(Array.from({ length: SIZE }, () => pool.connect()));
  for (const connection of connections) connection.release();
  return { pool, watched };
}

test('a pool has ended when its connections are gone, at the server too', async () => {
  const { pool, watched } = await usedPool(() => undefined);
  const left = () => query(database.url, `select pid from pg_stat_activity where application_name = '${NAME}'`);
  expect(await left()).toHaveLength(SIZE);
  let gone = 0;
  pool.on('remove', () => {
    gone += 1;
  });
  await watched.end();
  expect(gone).toBe(SIZE);
  expect(await left()).toEqual([]);
});

test('a connection that is lost is told, but not once the pool is ended', async () => {
  const told: string[] = [];
  const { pool, watched } = await usedPool(({ message }) => told.push(message));
  pool.emit('error', new Error('lost'));
  expect(told).toEqual(['lost']);
  const ended = watched.end();
  pool.emit('error', new Error('terminated'));
  await ended;
  pool.emit('error', new Error('terminated'));
  expect(told).toEqual(['lost']);
});
