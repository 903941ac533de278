import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Knex } from 'knex';
import { announceChange, type ChangeFeed, createChangeFeed } from '../../../src/database/index.ts';
import type { Logger } from '../../../src/telemetry/index.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { type DatabaseWay, openDatabaseWay } from '../../harness/database-way.ts';
import { recordingLogger, silentLogger } from '../../harness/loggers.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';

let testDatabase: TestDatabase;
let knex: Knex;
const feeds: ChangeFeed[] = [];
beforeEach(async () => {
  testDatabase = await openTestDatabase();
  knex = testDatabase.database.knex;
});
afterEach(async () => {
  await Promise.all(feeds.splice(0).map((feed) => feed.close()));
  await testDatabase.close();
});

function feed(url = testDatabase.url, logger: Logger = silentLogger): ChangeFeed {
  const made = createChangeFeed({ url, knex, logger });
  feeds.push(made);
  return made;
}

async function listening(): Promise<number> {
  const { rows } = await knex.raw<{ rows: { count: string }[] }>(
    `select count(*) from pg_stat_activity where datname = current_database() and application_name = 'tessera listen'`,
  );
  return Number(rows[0]?.count);
}

/** With the table of revisions away the connection is made, and what follows on it fails. */
const hideRevisions = () => knex.raw('alter table revisions rename to revisions_elsewhere');
const showRevisions = () => knex.raw('alter table revisions_elsewhere rename to revisions');

async function endListeningConnection(): Promise<void> {
  await knex.raw(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and application_name = 'tessera listen'`,
  );
}

describe('the connection that listens', () => {
  test('is closed when a start fails after it was made', async () => {
    await hideRevisions();
    await expect(feed().start()).rejects.toThrow();
    await until('nobody listens', async () => (await listening()) === 0);
  });

  test('is one alone, however often the look at the revisions behind it fails', async () => {
    const way = await openDatabaseWay(testDatabase.url);
    const listener = feed(way.url);
    await listener.start();
    await hideRevisions();
    await endListeningConnection();
    await until('it does not listen', () => !listener.isListening());
    // Each attempt would leave a connection behind.
    const attempts = way.connectionCount();
    await until('it has tried three times', async () => {
      expect(await listening()).toBeLessThanOrEqual(1);
      return way.connectionCount() >= attempts + 3;
    });
    expect(listener.isListening()).toBe(false);
    await showRevisions();
    await until('it listens', () => listener.isListening());
    expect(await listening()).toBe(1);
    await listener.close();
    await until('nobody listens', async () => (await listening()) === 0);
    await way.cut();
  });

  test('is not left open by a close while it is being made', async () => {
    const listener = feed();
    const started = listener.start().catch(() => undefined);
    await listener.close();
    await started;
    await until('nobody listens', async () => (await listening()) === 0);
    expect(listener.isListening()).toBe(false);
  });
});

describe('of the connection that listens an operator is told', () => {
  const INFO = 30;
  const WARN = 40;
  let way: DatabaseWay;
  let listener: ChangeFeed;
  let lines: Record<string, unknown>[];
  beforeEach(async () => {
    way = await openDatabaseWay(testDatabase.url);
    const recording = recordingLogger();
    lines = recording.lines;
    listener = feed(way.url, recording.logger);
    await listener.start();
  });
  afterEach(() => way.cut());
  const told = () => lines.filter(({ level }) => Number(level) >= INFO);

  test('once that it was lost and why, however many attempts follow, and once that it is back', async () => {
    expect(told()).toEqual([]);
    await endListeningConnection();
    await way.cut();
    const failures = () => lines.filter(({ level }) => Number(level) < INFO).length;
    await until('three attempts have failed', () => failures() >= 3);
    expect(told()).toEqual([expect.objectContaining({ level: WARN, err: expect.anything() })]);
    await way.open();
    await until('it listens', () => listener.isListening());
    await until('it is told', () => told().length > 1);
    expect(told().map(({ level }) => level)).toEqual([WARN, INFO]);
  });

  test('once that it gave no answer any more', async () => {
    way.silence();
    await until('it does not listen', () => !listener.isListening());
    const err = expect.objectContaining({ message: expect.stringContaining('timeout') });
    expect(told()).toEqual([expect.objectContaining({ level: WARN, err })]);
  });

  test('nothing where it is closed on purpose', async () => {
    await listener.close();
    await until('nobody listens', async () => (await listening()) === 0);
    expect(lines).toEqual([]);
  });
});

describe('a topic whose changes can’t be taken over', () => {
  test('is named until they are, and told once at the beginning and once at the end', async () => {
    const recording = recordingLogger();
    const listener = feed(testDatabase.url, recording.logger);
    let isSealed = false;
    let attempts = 0;
    listener.subscribe('clients', () => undefined);
    listener.subscribe('keys', async (id) => {
      attempts += 1;
      // One change alone proves nothing of those that failed.
      if (isSealed && id !== 'one that can be opened') throw new Error('it can’t be opened');
    });
    await listener.start();
    expect(listener.failingTopics()).toEqual([]);
    isSealed = true;
    attempts = 0;
    await announceChange(knex, 'clients', 'someone');
    await announceChange(knex, 'keys', 'one that can’t be opened');
    await until('it was tried again and again', () => attempts >= 4);
    await announceChange(knex, 'keys', 'one that can be opened');
    const before = attempts;
    await until('it is tried further', () => attempts >= before + 3);
    expect(listener.failingTopics()).toEqual(['keys']);
    isSealed = false;
    await until('it is taken over', () => listener.failingTopics().length === 0);
    const told = recording.lines.filter(({ topic }) => topic !== undefined);
    expect(told.map(({ level, topic }) => [level, topic])).toEqual([
      [50, 'keys'],
      [30, 'keys'],
    ]);
  });

  test('is not told where what listens is closed under it at the end', async () => {
    const recording = recordingLogger();
    const listener = feed(testDatabase.url, recording.logger);
    const { promise: closed, reject: close } = Promise.withResolvers<void>();
    let isAsked = false;
    listener.subscribe('keys', () => {
      isAsked = true;
      return closed;
    });
    const started = listener.start().catch(() => undefined);
    await announceChange(knex, 'keys', 'one');
    await until('it is asked', () => isAsked);
    await listener.close();
    close(new Error('pool is destroyed'));
    await started;
    expect(recording.lines).toEqual([]);
  });
});

describe('a message that is no change', () => {
  test.each([
    'hello',
    '',
    'null',
    '{}',
    '{"topic":"clients"}',
    '{"topic":"clients","revision":"1"}',
    '{"topic":1,"revision":1}',
  ])('is answered by a look at the revisions, and ends no node: %j', async (payload) => {
    const listener = feed();
    const heard: (string | undefined)[] = [];
    listener.subscribe('clients', (id) => void heard.push(id));
    await listener.start();
    // A change whose own message is lost.
    await knex.raw(`insert into revisions (topic, revision) values ('clients', 7)`);
    await knex.raw('select pg_notify(?, ?)', ['tessera_changes', payload]);
    await until('something is heard', () => heard.length > 0);
    expect(heard).toEqual([undefined]);

    await announceChange(knex, 'clients', 'someone');
    await until('the change is heard', () => heard.includes('someone'));
  });

  test('of a topic that is not known here is passed over', async () => {
    const listener = feed();
    const heard: (string | undefined)[] = [];
    listener.subscribe('clients', (id) => void heard.push(id));
    await listener.start();
    await knex.raw('select pg_notify(?, ?)', ['tessera_changes', '{"topic":"of a newer version","revision":1}']);
    await announceChange(knex, 'clients', 'someone');
    await until('something is heard', () => heard.length > 0);
    expect(heard).toEqual(['someone']);
  });
});

describe('of messages that anybody may have sent', () => {
  const notify = (message: unknown) => knex.raw('select pg_notify(?, ?)', ['tessera_changes', JSON.stringify(message)]);
  /** In one transaction; `payload` is an expression in which `n` counts. */
  const flood = (count: number, payload: string) =>
    knex.raw(`select pg_notify('tessera_changes', ${payload}) from generate_series(1, ${count}) n`);
  const setRevision = (topic: string, revision: number) =>
    knex.raw(
      `insert into revisions (topic, revision) values (?, ?)
       on conflict (topic) do update set revision = excluded.revision`,
      [topic, revision],
    );

  async function listener(logger?: Logger) {
    const made = feed(undefined, logger);
    const heard: (string | undefined)[] = [];
    made.subscribe('clients', (id) => void heard.push(id));
    await setRevision('clients', 7);
    await made.start();
    heard.length = 0;
    return { made, heard };
  }

  test('a flood that means nothing costs a few looks and a few lines', async () => {
    const recording = recordingLogger();
    const { heard } = await listener(recording.logger);
    let looks = 0;
    knex.on('query', ({ sql }: { sql: string }) => {
      if (/^select .* from "revisions"/.test(sql)) looks += 1;
    });
    const began = performance.now();
    await flood(5_000, `'x' || n`);
    await announceChange(knex, 'clients', 'someone');
    await until('the change behind it is heard', () => heard.includes('someone'));
    const intervals = 1 + Math.ceil((performance.now() - began) / 350);
    expect(recording.lines.length).toBeGreaterThan(0);
    expect(recording.lines.length).toBeLessThanOrEqual(intervals);
    expect(looks).toBeLessThanOrEqual(intervals);
  });

  test('a flood that names a topic is taken over in a few turns, by one listener at a time', async () => {
    const { made, heard } = await listener();
    let [running, most, turns] = [0, 0, 0];
    made.subscribe('keys', async () => {
      turns += 1;
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
    });
    await flood(5_000, `json_build_object('topic', 'keys', 'revision', n, 'id', n::text)::text`);
    await announceChange(knex, 'clients', 'someone');
    await until('the change behind it is heard', () => heard.includes('someone'));
    await until('all is taken over', () => running === 0);
    expect(turns).toBeGreaterThan(0);
    expect(turns).toBeLessThan(1_000);
    expect(most).toBe(1);
  });

  test('who hangs in one turn does not miss the next', async () => {
    const { made } = await listener();
    let turns = 0;
    made.subscribe('keys', () => {
      turns += 1;
      return new Promise<void>(() => undefined);
    });
    await announceChange(knex, 'keys', 'one');
    await until('it hangs', () => turns === 1);
    await announceChange(knex, 'keys', 'another');
    await until('it is told of the other', () => turns === 2, SEEN_WITHIN_MS);
  });

  test('topics that nobody listens to leave nothing behind', async () => {
    const { heard } = await listener();
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const heldMb = () => {
      collect();
      return process.memoryUsage().heapUsed / 1e6;
    };
    const before = heldMb();
    await flood(5_000, `json_build_object('topic', repeat('x', 7500) || n, 'revision', 1)::text`);
    await announceChange(knex, 'clients', 'someone');
    await until('the change behind it is heard', () => heard.includes('someone'));
    expect(heldMb() - before).toBeLessThan(15);
  });

  test('none hides a change whose own message is lost', async () => {
    const { heard } = await listener();
    await notify({ topic: 'clients', revision: 8, id: 'nobody' });
    await until('it is heard', () => heard.includes('nobody'));
    await setRevision('clients', 8);
    await until('the change is seen', () => heard.includes(undefined), SEEN_WITHIN_MS);
  });

  test('none that claims a later revision hides the next change, nor its name', async () => {
    const { heard } = await listener();
    await notify({ topic: 'clients', revision: 1_000_000, id: 'nobody' });
    await until('it is heard', () => heard.length > 0);
    expect(heard).toEqual([undefined]);
    await announceChange(knex, 'clients', 'someone');
    await until('the change is heard', () => heard.includes('someone'));
  });

  test('a revision that is lower than before is a change, too', async () => {
    const { heard } = await listener();
    await setRevision('clients', 3);
    await until('it is seen', () => heard.length > 0, SEEN_WITHIN_MS);
    expect(heard).toEqual([undefined]);
    await announceChange(knex, 'clients', 'someone');
    await until('the change is heard', () => heard.includes('someone'));
  });
});

describe('a channel that is heard', () => {
  const notify = (channel: string, message: string) => knex.raw('select pg_notify(?, ?)', [channel, message]);

  test('brings its own messages alone, and says when some may have been missed', async () => {
    const listener = feed();
    const heard: Record<'ours' | 'theirs', (string | undefined)[]> = { ours: [], theirs: [] };
    listener.hear('ours', (message) => void heard.ours.push(message));
    listener.hear('theirs', (message) => void heard.theirs.push(message));
    await listener.start();
    await notify('ours', 'one');
    await notify('theirs', '');
    await notify("nobody's", 'lost');
    await notify('ours', 'two');
    await until('all is heard', () => heard.ours.includes('two'));
    expect(heard).toEqual({ ours: [undefined, 'one', 'two'], theirs: [undefined, ''] });

    await endListeningConnection();
    await until('it does not listen, and said so', () => heard.ours.length >= 4);
    expect(heard.ours[3]).toBeUndefined();
    await until('it listens again, and said so', () => heard.ours.length >= 5 && listener.isListening());
    await notify('ours', 'three');
    await until('it is heard', () => heard.ours.includes('three'));
    expect(heard.ours.slice(3)).toEqual([undefined, undefined, 'three']);
  });

  test('is told of a connection that has fallen silent when that is noticed', async () => {
    const way = await openDatabaseWay(testDatabase.url);
    const listener = feed(way.url);
    const heard: (string | undefined)[] = [];
    listener.hear('ours', (message) => void heard.push(message));
    await listener.start();
    way.silence();
    await until('it is told', () => heard.length === 2);
    expect(listener.isListening()).toBe(false);
    await way.cut();
  });
});

describe('the feed is current', () => {
  test('from its start on, and for less than a second after the revisions could last be looked at', async () => {
    const listener = feed();
    expect(listener.isCurrent()).toBe(false);
    await listener.start();
    expect(listener.isCurrent()).toBe(true);
    await hideRevisions();
    await until('it is not current', () => !listener.isCurrent());
    await showRevisions();
    await until('it is current', () => listener.isCurrent());
  });

  test('while its connection is silent, for the pool looks in its place', async () => {
    const way = await openDatabaseWay(testDatabase.url);
    const listener = feed(way.url);
    await listener.start();
    way.silence();
    await until('it does not listen', () => !listener.isListening());
    await until('it is current', () => listener.isCurrent());
    await way.cut();
  });
});

describe('a change whose message is lost', () => {
  async function timeUntilHeard(change: () => Promise<unknown>, heard: readonly unknown[]): Promise<number> {
    const changed = performance.now();
    await change();
    await until('something is heard', () => heard.length > 0);
    return performance.now() - changed;
  }

  test('is seen within a second by a look at the revisions', async () => {
    const listener = feed();
    const heard: (string | undefined)[] = [];
    listener.subscribe('clients', (id) => void heard.push(id));
    await listener.start();
    const silentChange = () => knex.raw(`insert into revisions (topic, revision) values ('clients', 7)`);
    expect(await timeUntilHeard(silentChange, heard)).toBeLessThan(SEEN_WITHIN_MS);
  });

  describe('because the connection that listens has fallen silent', () => {
    let way: DatabaseWay;
    let listener: ChangeFeed;
    let heard: (string | undefined)[];
    beforeEach(async () => {
      way = await openDatabaseWay(testDatabase.url);
      listener = feed(way.url);
      heard = [];
      listener.subscribe('clients', (id) => void heard.push(id));
      await listener.start();
      way.silence();
    });
    afterEach(() => way.cut());

    test('is seen as soon', async () => {
      const change = () => announceChange(knex, 'clients', 'someone');
      expect(await timeUntilHeard(change, heard)).toBeLessThan(SEEN_WITHIN_MS);
      expect(heard).toEqual([undefined]);
    });

    test('is the last: the feed says that it does not listen, and listens again on another connection', async () => {
      await until('it does not listen', () => !listener.isListening());
      way.resume();
      await until('it listens', () => listener.isListening());
      await announceChange(knex, 'clients', 'first');
      await until('something is heard', () => heard.length > 0);
      await announceChange(knex, 'clients', 'someone');
      await until('the change is heard', () => heard.includes('someone'));
    });

    test('holds up no close', async () => {
      const asked = performance.now();
      await listener.close();
      expect(performance.now() - asked).toBeLessThan(SEEN_WITHIN_MS);
    });
  });
});
