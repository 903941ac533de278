import type { MetricsSnapshot } from '../telemetry/index.ts';

/** What the primary says to a worker. */
export type WorkerOrder =
  /** End, after the requests in hand. */
  | Readonly<{ say: 'stop'; reason: string }>
  /** Do the scheduled work, too. */
  | Readonly<{ say: 'work' }>
  /** What can be in one process alone is in the worker with this port of its own. */
  | Readonly<{ say: 'appointed'; ownPort: number | undefined }>
  | Readonly<{ say: 'tell metrics'; round: number }>;

/** What a worker says to the primary. */
export type WorkerReport =
  /** It listens, on this port, and perhaps on one that it doesn't share. */
  | Readonly<{ say: 'ready'; port: number; ownPort: number | undefined }>
  /** Why it can't start. */
  | Readonly<{ say: 'fault'; message: string }>
  | Readonly<{ say: 'metrics'; round: number; snapshot: MetricsSnapshot }>;

/** Others speak on this channel too, such as Node's own `--watch`; they are passed over. */
export function isOurs(message: unknown): message is { say: string } {
  return typeof message === 'object' && message !== null && 'say' in message;
}
