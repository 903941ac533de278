import { setTimeout as delay } from 'node:timers/promises';
import type { Process } from './calls.ts';
import type { LoadHandlers, Scenario } from './load.ts';
import type { ServerHandlers } from './server.ts';

/** A server under one kind of load, to be compared with others. */
export type Contestant = Readonly<{ name: string; server: Process<ServerHandlers>; scenario: Scenario }>;

/** What one window of time showed. */
export type Window = Readonly<{
  /** Answers of the server, a second. */
  perSecond: number;
  /** CPU of the server's process (all of its threads), for each of its answers. */
  cpuMicros: number;
  medianMs: number;
  /** Statements on the token store's connections, for each answer. */
  statements: number;
  /** Answers that were not what they must be, and requests without one. */
  failures: number;
}>;

/** From the first request of a window until it counts: connections are made, batches have filled. */
const SETTLING_MS = 150;

/** Puts one server under its load for so many seconds. */
export async function measureWindow(
  load: Process<LoadHandlers>,
  { server, scenario }: Contestant,
  seconds: number | (() => Promise<unknown>),
): Promise<Window> {
  await load.ask('start', { address: await server.ask('address'), scenario });
  await delay(SETTLING_MS);
  await load.ask('mark');
  const before = await server.ask('snapshot');
  await (typeof seconds === 'number' ? delay(seconds * 1_000) : seconds());
  const after = await server.ask('snapshot');
  const { failures, medianMs } = await load.ask('stop');
  const answered = after.answered - before.answered;
  return {
    perSecond: (answered * 1_000) / (after.atMs - before.atMs),
    cpuMicros: (after.cpuMicros - before.cpuMicros) / answered,
    medianMs,
    statements: (after.statements - before.statements) / answered,
    failures,
  };
}

/**
 * Rounds in which every contestant has its turn, each time another one first, so that what drifts (caches, disk, the
 * machine's other work) meets all alike. One turn each goes before as a warm-up.
 *
 * @returns by name, one window per round
 */
export async function measureRounds<Name extends string>(
  load: Process<LoadHandlers>,
  contestants: readonly (Contestant & { name: Name })[],
  options: { rounds: number; seconds: number; warmUpSeconds: number },
): Promise<Record<Name, Window[]>> {
  const windows = Object.fromEntries(contestants.map(({ name }) => [name, []])) as unknown as Record<Name, Window[]>;
  for (const contestant of contestants) await measureWindow(load, contestant, options.warmUpSeconds);
  for (let round = 0; round < options.rounds; round += 1) {
    for (let turn = 0; turn < contestants.length; turn += 1) {
      const contestant = contestants[(round + turn) % contestants.length] as Contestant & { name: Name };
      windows[contestant.name].push(await measureWindow(load, contestant, options.seconds));
    }
  }
  return windows;
}

/** One ratio per round. */
export function ratios(ours: readonly Window[], peer: readonly Window[], of: (window: Window) => number): number[] {
  return ours.map((window, round) => of(window) / of(peer[round] as Window));
}

export function failuresOf(...windows: (readonly Window[])[]): number {
  return windows.flat().reduce((sum, { failures }) => sum + failures, 0);
}
