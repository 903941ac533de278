/**
 * Owns the processes that serve on one port: starting, replacing and ending them, and the sum of their metrics. Refuses to
 * know what they serve, and to carry anything but these few words between them: what they share is in the database.
 */
export { createSupervisor } from './supervisor.ts';
export { createWorkerLink, type WorkerLink } from './worker-link.ts';
