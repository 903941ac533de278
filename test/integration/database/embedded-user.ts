/**
 * A process that uses the embedded database: `DATA_DIR` in its environment, one JSON value a line on standard output. It
 * closes when told so on standard input; on SIGTERM or SIGINT it first works on, as a server that drains does.
 */
import { once } from 'node:events';
import pg from 'pg';
import { openEmbeddedDatabase } from '../../../src/database/embedded/index.ts';

const say = (message: Record<string, string>) => process.stdout.write(`${JSON.stringify(message)}\n`);
const notice = (message: unknown) => say({ notice: String(message) });

try {
  const database = await openEmbeddedDatabase({
    dataDirectory: process.env.DATA_DIR ?? '',
    logger: { info: notice, warn: notice, error: notice },
  });
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  const order = Promise.race([
    once(process.stdin, 'data').then(() => 'close'),
    once(process, 'SIGTERM').then(() => 'drain'),
    once(process, 'SIGINT').then(() => 'drain'),
  ]);
  // Only now that it listens: whoever hears this may send a signal at once.
  say({ opened: database.url });
  if ((await order) === 'drain') {
    const late = new pg.Client({ connectionString: database.url });
    await late.connect();
    const { rows } = await late.query('select pg_sleep(0.2), 1 as answer');
    await late.end();
    await client.query('select 1');
    say({ drained: String(rows[0].answer) });
  }
  await client.end();
  await database.close();
  say({ closed: 'yes' });
  process.exit(0);
} catch (error) {
  say({ fault: error instanceof Error ? error.message : String(error) });
  process.exit(1);
}
