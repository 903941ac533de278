import { describe, expect, test } from '@jest/globals';
import { createTakeOverFaults } from '../../../src/database/take-over-faults.ts';
import { recordingLogger } from '../../harness/loggers.ts';

const ERROR = 50;
const INFO = 30;

function faultsAt(now: number) {
  const state = { now };
  const { logger, lines } = recordingLogger();
  const faults = createTakeOverFaults({ logger, now: () => state.now });
  return { faults, state, told: () => lines.map(({ level, topic, failures }) => [level, topic, failures]) };
}

describe('a topic that can’t be taken over', () => {
  test('is told at the beginning, every 30 s while it lasts, and at the end', () => {
    const { faults, state, told } = faultsAt(0);
    for (; state.now <= 60_000; state.now += 300) faults.failed('keys', new Error('sealed'));
    faults.succeeded('keys');
    expect(told()).toEqual([
      [ERROR, 'keys', 1],
      [ERROR, 'keys', 101],
      [ERROR, 'keys', 201],
      [INFO, 'keys', undefined],
    ]);
  });

  test('is told at once when it fails again after it was taken over', () => {
    const { faults, told } = faultsAt(0);
    faults.failed('keys', new Error('sealed'));
    faults.succeeded('keys');
    faults.failed('keys', new Error('sealed'));
    expect(told().map(([level]) => level)).toEqual([ERROR, INFO, ERROR]);
    expect(faults.topics()).toEqual(['keys']);
  });

  test('is told beside another one', () => {
    const { faults, told } = faultsAt(0);
    for (const topic of ['keys', 'apis']) faults.failed(topic, new Error('sealed'));
    expect(faults.topics()).toEqual(['keys', 'apis']);
    faults.succeeded('keys');
    expect(faults.topics()).toEqual(['apis']);
    expect(told()).toHaveLength(3);
  });

  test('and one that never failed is not told', () => {
    const { faults, told } = faultsAt(0);
    faults.succeeded('clients');
    expect(told()).toEqual([]);
  });
});
