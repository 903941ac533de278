import { describe, expect, jest, test } from '@jest/globals';
import { pino } from 'pino';
import { createAuditBuffer } from '../../../src/audit/audit-buffer.ts';

const away = () => Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
const refused = () => Object.assign(new Error('invalid input'), { code: '22P02' });

/** A buffer that writes into a list, with a switch for faults and a log to read. */
function setUp() {
  const batches: number[][] = [];
  const log: { msg: string; dropped?: number; total?: number }[] = [];
  const logger = pino({ base: null }, { write: (line: string) => log.push(JSON.parse(line)) });
  const faults = { next: (_entries: readonly number[]): Error | undefined => undefined };
  const buffer = createAuditBuffer<number>({
    logger,
    async write(entries) {
      // As with a database, the answer comes later than the call.
      await new Promise(setImmediate);
      const fault = faults.next(entries);
      if (fault !== undefined) throw fault;
      batches.push([...entries]);
    },
  });
  return { buffer, batches, faults, log, written: () => batches.flat() };
}

const numbers = (count: number, start = 0) => Array.from({ length: count }, (_, index) => start + index);

describe('what waits to be written', () => {
  test('travels together, in order, in bounded batches', async () => {
    const { buffer, batches, written } = setUp();
    for (const n of numbers(1_250)) buffer.add(n);
    await buffer.flush();
    expect(written()).toEqual(numbers(1_250));
    expect(batches.map((batch) => batch.length)).toEqual([500, 500, 250]);
  });

  test('a full batch is written without waiting for the interval', async () => {
    const { buffer, written } = setUp();
    for (const n of numbers(500)) buffer.add(n);
    for (let turn = 0; turn < 10 && written().length === 0; turn += 1) await new Promise(setImmediate);
    expect(written()).toHaveLength(500);
  });

  test('is written once, however many flush at a time', async () => {
    const { buffer, written } = setUp();
    const flushes: Promise<void>[] = [];
    for (const n of numbers(1_000)) {
      buffer.add(n);
      if (n % 10 === 0) flushes.push(buffer.flush());
    }
    await Promise.all([...flushes, buffer.flush()]);
    expect(written()).toEqual(numbers(1_000));
  });

  test('a flush answers when all that was added before it is written, also while another is under way', async () => {
    const { buffer, written } = setUp();
    buffer.add(1);
    const first = buffer.flush();
    buffer.add(2);
    await buffer.flush();
    expect(written()).toEqual([1, 2]);
    await first;
  });
});

describe('while the database is away', () => {
  test('what waits stays, in order, and is written when it is back', async () => {
    const { buffer, faults, written, log } = setUp();
    faults.next = away;
    for (const n of numbers(700)) buffer.add(n);
    await expect(buffer.flush()).rejects.toThrow('ECONNREFUSED');
    await expect(buffer.flush()).rejects.toThrow('ECONNREFUSED');
    expect(written()).toEqual([]);
    faults.next = () => undefined;
    buffer.add(700);
    await buffer.flush();
    expect(written()).toEqual(numbers(701));
    expect(buffer.counts()).toEqual({ waiting: 0, dropped: 0 });
    expect(log.filter(({ msg }) => msg === 'audit events wait for the database')).toHaveLength(1);
  });

  test('is tried again by itself, a second later each time, for as long as it takes', async () => {
    jest.useFakeTimers({ doNotFake: ['setImmediate'] });
    try {
      const { buffer, faults, written } = setUp();
      let attempts = 0;
      faults.next = () => {
        attempts += 1;
        return attempts < 5 ? away() : undefined;
      };
      buffer.add(1);
      for (const [delayMs, expected] of [
        [200, 1],
        [1_000, 2],
        [999, 2],
        [1, 3],
        [1_000, 4],
        [1_000, 5],
      ] as const) {
        jest.advanceTimersByTime(delayMs);
        for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
        expect(attempts).toBe(expected);
      }
      expect(written()).toEqual([1]);
    } finally {
      jest.useRealTimers();
    }
  });

  test('a fault halfway keeps what was not written and repeats nothing that was', async () => {
    const { buffer, faults, written } = setUp();
    faults.next = (entries) => (entries.includes(600) ? away() : undefined);
    for (const n of numbers(1_000)) buffer.add(n);
    await expect(buffer.flush()).rejects.toThrow('ECONNREFUSED');
    expect(written()).toEqual(numbers(500));
    faults.next = () => undefined;
    await buffer.flush();
    expect(written()).toEqual(numbers(1_000));
  });

  test('the buffer is bounded: what is too much is dropped, counted and said, not once per event', async () => {
    const { buffer, faults, written, log } = setUp();
    faults.next = away;
    for (const n of numbers(20_100)) buffer.add(n);
    expect(buffer.counts()).toEqual({ waiting: 20_000, dropped: 100 });
    await expect(buffer.flush()).rejects.toThrow('ECONNREFUSED');
    const said = log.filter(({ msg }) => msg === 'audit events were dropped');
    expect(said.length).toBeLessThanOrEqual(3);
    expect(said.at(-1)?.total).toBe(100);
    faults.next = () => undefined;
    await buffer.flush();
    expect(written()).toEqual(numbers(20_000));
  });
});

test('an entry that the database refuses holds up neither its neighbours nor those behind it', async () => {
  const { buffer, faults, written, log } = setUp();
  faults.next = (entries) => (entries.includes(13) ? refused() : undefined);
  for (const n of numbers(600)) buffer.add(n);
  await buffer.flush();
  expect(written()).toEqual(numbers(600).filter((n) => n !== 13));
  expect(buffer.counts()).toEqual({ waiting: 0, dropped: 1 });
  expect(log.map(({ msg }) => msg)).toContain('an audit event was refused by the database');
});

describe('closing', () => {
  test('writes all that waits, also behind a flush that is under way', async () => {
    const { buffer, written } = setUp();
    for (const n of numbers(1_100)) buffer.add(n);
    await buffer.close();
    expect(written()).toEqual(numbers(1_100));
  });

  test('does not wait for a database that is away: it counts and says what is lost', async () => {
    const { buffer, faults, log } = setUp();
    faults.next = away;
    for (const n of numbers(3)) buffer.add(n);
    await buffer.close();
    expect(buffer.counts()).toEqual({ waiting: 0, dropped: 3 });
    expect(log.find(({ msg }) => msg === 'audit events were dropped')).toMatchObject({ dropped: 3, total: 3 });
  });

  test('what comes later is counted as dropped', async () => {
    const { buffer, written } = setUp();
    await buffer.close();
    buffer.add(1);
    expect(written()).toEqual([]);
    expect(buffer.counts()).toEqual({ waiting: 0, dropped: 1 });
  });
});
