/**
 * Owns what the program says of itself: logs, metrics. Refuses to hold anything that grants access: the logger removes
 * secrets, and labels are drawn from closed lists.
 */
export { createLogger, type Logger } from './logger.ts';
export { createMetrics, type Metrics } from './metrics.ts';
export { type Endpoint, grantTypeLabel } from './metrics-labels.ts';
export { knexPoolUse, pgPoolUse } from './metrics-pools.ts';
export { createProcessesMetrics, type MetricsSnapshot, type ProcessesMetrics } from './processes-metrics.ts';
export { outcomeOf } from './request-outcome.ts';
