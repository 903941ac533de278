/**
 * Owns the scheduled work, on pg-boss: what runs when, on one node at a time. Refuses to know how the work is done: that
 * is handed in by the room that owns the data. Its tables are in the schema `pgboss`.
 */
export { doAll } from './do-all.ts';
export { createJobs, type Jobs } from './jobs.ts';
export { sweepInBatches } from './sweep-in-batches.ts';
export { type Sweep, sweepTask } from './sweep-task.ts';
