/**
 * Owns the work that nobody waits for, on pg-boss: what runs when, on one node at a time, and jobs that are asked for once and
 * done until they succeed (queue.ts). Refuses to know how the work is done: that
 * is handed in by the room that owns the data. Its tables are in the schema `pgboss`.
 */
export { doAll } from './do-all.ts';
export { createJobs, type Jobs } from './jobs.ts';
export { enqueue, type Work } from './queue.ts';
export { sweepInBatches } from './sweep-in-batches.ts';
export { type Sweep, sweepTask } from './sweep-task.ts';
