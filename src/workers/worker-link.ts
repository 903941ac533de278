import cluster from 'node:cluster';
import type { MetricsSnapshot } from '../telemetry/index.ts';
import { isOurs, type WorkerOrder, type WorkerReport } from './worker-messages.ts';

/** What a worker does when it is told to. */
type WorkerDuties = Readonly<{
  /** Also when the primary has gone: nobody would end this process then. */
  stop(reason: string): void;
  /** Does the scheduled work, too. */
  work(): void;
  /** Leaves what can be in one process alone to the worker with this port of its own. */
  appointed(ownPort: number | undefined): void;
  metrics(): Promise<MetricsSnapshot>;
}>;

/** A worker's line to the primary. */
export type WorkerLink = Readonly<{
  /** Says that requests are answered on these ports, and from then on does what the primary wants. */
  ready(ports: { port: number; ownPort: number | undefined }, duties: WorkerDuties): void;
  /** Says why the start failed. Resolves when it is said, or can't be. */
  fault(message: string): Promise<void>;
}>;

/** @returns undefined where this process is no worker */
export function createWorkerLink(): WorkerLink | undefined {
  const { worker } = cluster;
  if (worker === undefined) return undefined;

  async function say(report: WorkerReport): Promise<void> {
    if (worker?.isConnected()) await new Promise<void>((resolve) => worker.send(report, () => resolve()));
  }

  async function tellMetrics(round: number, { metrics }: WorkerDuties): Promise<void> {
    await say({ say: 'metrics', round, snapshot: await metrics() });
  }

  return Object.freeze({
    ready(ports: { port: number; ownPort: number | undefined }, duties: WorkerDuties) {
      process.on('message', (message: unknown) => {
        if (!isOurs(message)) return;
        const order = message as WorkerOrder;
        if (order.say === 'stop') duties.stop(order.reason);
        else if (order.say === 'work') duties.work();
        else if (order.say === 'appointed') duties.appointed(order.ownPort);
        // What can't be gathered is not told: the primary doesn't wait for it for long.
        else tellMetrics(order.round, duties).catch(() => undefined);
      });
      worker.on('disconnect', () => {
        // Else Node ends a worker at once whose primary has gone, in the middle of its requests.
        worker.exitedAfterDisconnect = true;
        duties.stop('the primary has gone');
      });
      void say({ say: 'ready', ...ports });
    },
    fault: (message: string) => say({ say: 'fault', message }),
  });
}
