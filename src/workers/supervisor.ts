import cluster, { type Worker } from 'node:cluster';
import type { Clock } from '../config/index.ts';
import { AppError } from '../errors.ts';
import type { Logger, ProcessesMetrics } from '../telemetry/index.ts';
import { pauseBeforeReplacement, SOUND_AFTER_MS } from './replacement-pause.ts';
import { isOurs, type WorkerOrder, type WorkerReport } from './worker-messages.ts';

/** The primary's view of the workers. */
type Supervisor = Readonly<{
  /**
   * Resolves with the port when all are ready; from then on each that dies is replaced.
   *
   * @throws {AppError} with the reason of the first, when all of them have died and none had ever been ready
   */
  start(): Promise<{ port: number }>;
  /** Lets each finish its requests. Resolves when all have ended. @throws where one ended in another way than it should */
  stop(reason: string): Promise<void>;
  /** Ends those that are left, in whatever state they are. */
  kill(): void;
  /** Brings the metrics up to date, as far as the workers answer. */
  refreshMetrics(): Promise<void>;
}>;

type Member = {
  readonly worker: Worker;
  /** Absent: it is still starting. */
  readyAt?: number;
  ownPort?: number | undefined;
};

/** A busy worker answers within milliseconds; what one said before stands for it when it doesn't. */
const METRICS_LIMIT_MS = 1_000;

/** @param options.program absolute path of what a worker runs @param options.count how many, at least 2 */
export function createSupervisor(options: {
  count: number;
  program: string;
  metrics: ProcessesMetrics;
  clock: Clock;
  logger: Logger;
}): Supervisor {
  const { count, metrics, clock, logger } = options;
  const members = new Map<number, Member>();
  const starting = Promise.withResolvers<{ port: number }>();
  const ended = Promise.withResolvers<void>();
  const pauses = new Set<NodeJS.Timeout>();
  /** Of the workers that died before any was ready. */
  const deaths: string[] = [];
  let fault: string | undefined;
  let port: number | undefined;
  let earlyDeaths = 0;
  let round = 0;
  /** Those that were asked for their metrics in this round and have neither told them nor died. */
  const silent = new Set<Member>();
  let allHeard = () => {};
  let gathering: Promise<void> | undefined;
  let appointedId: number | undefined;
  /** Whether all were ready at the same time. */
  let hasStarted = false;
  let isStopping = false;
  let hasFaultyEnd = false;

  function say(worker: Worker, order: WorkerOrder): void {
    // One that has just died can't be told; its end is heard of below.
    worker.send(order, () => undefined);
  }

  function launch(): void {
    const worker = cluster.fork();
    const member: Member = { worker };
    members.set(worker.id, member);
    worker.on('message', (message: unknown) => isOurs(message) && heard(member, message as WorkerReport));
    worker.once('exit', (exitCode, signal) => died(member, exitCode, signal));
    worker.on('error', (error) => {
      logger.error({ err: error }, 'a worker could not be reached');
      // It was never there, and so has no end.
      if (worker.process.pid === undefined) died(member, null, null);
    });
  }

  function heard(member: Member, report: WorkerReport): void {
    // The last words of one may come after its end.
    if (!members.has(member.worker.id)) return;
    if (report.say === 'fault') {
      if (port === undefined) fault ??= report.message;
      else logger.error({ reason: report.message }, 'a worker can’t start');
    } else if (report.say === 'metrics') {
      metrics.take(member.worker.id, report.snapshot);
      if (report.round === round) expectNoMore(member);
    } else becameReady(member, report);
  }

  function becameReady(member: Member, ports: { port: number; ownPort: number | undefined }): void {
    member.readyAt = clock();
    member.ownPort = ports.ownPort;
    const isFirst = port === undefined;
    port = ports.port;
    countReady();
    if (isStopping) return;
    // Those that had died before it was known that any can live.
    if (isFirst) for (let missing = count - members.size; missing > 0; missing -= 1) replaceLater();
    appoint();
    if (hasStarted) {
      logger.info(
        { worker: member.worker.process.pid, ready: readyCount() },
        'a worker serves in place of one that died',
      );
    } else if (readyCount() === count) {
      hasStarted = true;
      logger.info(
        `${count} workers serve: ${ready()
          .map(({ worker }) => worker.process.pid)
          .join(', ')}`,
      );
      starting.resolve({ port });
    }
  }

  function died(member: Member, exitCode: number | null, signal: string | null): void {
    const { id } = member.worker;
    if (!members.delete(id)) return;
    metrics.leave(id);
    expectNoMore(member);
    countReady();
    const how = signal === null ? `exit code ${exitCode}` : signal;
    if (isStopping) {
      if (member.readyAt !== undefined && exitCode !== 0) {
        hasFaultyEnd = true;
        logger.error({ worker: member.worker.process.pid, end: how }, 'a worker did not end as it should');
      }
      if (members.size === 0) ended.resolve();
      return;
    }
    metrics.countDeath();
    if (port === undefined) {
      deaths.push(how);
      if (members.size === 0) giveUp();
      return;
    }
    const livedLong = member.readyAt !== undefined && clock() - member.readyAt >= SOUND_AFTER_MS;
    earlyDeaths = livedLong ? 0 : earlyDeaths + 1;
    appoint();
    const pauseMs = replaceLater();
    logger.error({ worker: member.worker.process.pid, end: how, pauseMs }, 'a worker died and is replaced');
  }

  function giveUp(): void {
    const message = fault ?? `every worker ended before it was ready: ${[...new Set(deaths)].join(', ')}`;
    starting.reject(new AppError({ code: 'server_error', message }));
  }

  function replaceLater(): number {
    const pauseMs = pauseBeforeReplacement(earlyDeaths);
    const pause = setTimeout(() => {
      pauses.delete(pause);
      launch();
    }, pauseMs);
    pauses.add(pause);
    return pauseMs;
  }

  function ready(): Member[] {
    return [...members.values()].filter(({ readyAt }) => readyAt !== undefined);
  }

  function readyCount(): number {
    return ready().length;
  }

  function countReady(): void {
    metrics.setReady(readyCount());
  }

  /** The scheduled work is one worker's, which saves the others its connections; another goes on when it has died. */
  function appoint(): void {
    if (appointedId === undefined || !members.has(appointedId)) {
      const [member] = ready();
      appointedId = member?.worker.id;
      if (member !== undefined) say(member.worker, { say: 'work' });
    }
    const ownPort = members.get(appointedId ?? 0)?.ownPort;
    for (const { worker } of ready()) say(worker, { say: 'appointed', ownPort });
  }

  async function gather(): Promise<void> {
    round += 1;
    silent.clear();
    for (const member of ready()) {
      silent.add(member);
      say(member.worker, { say: 'tell metrics', round });
    }
    if (silent.size === 0) return;
    const heard = Promise.withResolvers<void>();
    allHeard = heard.resolve;
    const limit = setTimeout(heard.resolve, METRICS_LIMIT_MS);
    await heard.promise;
    clearTimeout(limit);
  }

  function expectNoMore(member: Member): void {
    if (silent.delete(member) && silent.size === 0) allHeard();
  }

  return Object.freeze({
    start() {
      // Structured clone: JSON has no NaN, which a gauge without a value is.
      // Workers take connections themselves. Node's own way hands them out one by one, and one that is on its way to a worker
      // which dies is neither answered nor closed: its client waits for ever.
      cluster.schedulingPolicy = cluster.SCHED_NONE;
      cluster.setupPrimary({ exec: options.program, args: [], serialization: 'advanced' });
      for (let index = 0; index < count; index += 1) launch();
      return starting.promise;
    },
    async stop(reason: string) {
      isStopping = true;
      for (const pause of pauses) clearTimeout(pause);
      for (const { worker, readyAt } of members.values()) {
        if (readyAt === undefined) worker.process.kill('SIGTERM');
        else say(worker, { say: 'stop', reason });
      }
      if (members.size > 0) await ended.promise;
      if (hasFaultyEnd) throw new Error('a worker did not end as it should');
    },
    kill() {
      for (const { worker } of members.values()) worker.process.kill('SIGKILL');
    },
    refreshMetrics() {
      gathering ??= gather().finally(() => {
        gathering = undefined;
      });
      return gathering;
    },
  });
}
