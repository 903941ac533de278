import type { Middleware } from 'koa';
import type { Clock } from '../config/index.ts';
import type { Logger } from '../telemetry/index.ts';

/** One thing that readiness depends on. */
export type HealthCheck = {
  /** In the answer and in the log, such as `database`. */
  name: string;
  /** What is wrong where the check fails, in words that may be shown to anyone; of what the last check has found. */
  reason: string | (() => string);
  /** False, a throw, or no answer within the limit: it fails. */
  check(): boolean | Promise<boolean>;
  /** A warning is reported but leaves the node ready. */
  isWarning?: boolean;
  /** How long a good result is believed, in milliseconds; a bad one only for a second. */
  believedForMs?: number;
};

/** Long enough for a busy pool to find a connection, short enough for a load balancer that probes every few seconds. */
const CHECK_LIMIT_MS = 2_000;
/** However often readiness is asked for, the database is asked once in this time. */
const BELIEVED_FOR_MS = 1_000;

/**
 * `GET /health/live`: 200 as long as the process answers. `GET /health/ready`: 200, or 503 with the reasons; not ready
 * from the moment of `isShuttingDown`, so that a load balancer looks elsewhere while the work in hand is finished. The
 * answer holds the names and reasons below, never what an error says: it may name hosts, users or versions.
 */
export function createHealth(dependencies: {
  checks: readonly HealthCheck[];
  isShuttingDown: () => boolean;
  clock: Clock;
  logger: Logger;
  checkLimitMs?: number;
}): Middleware {
  const { isShuttingDown, clock, logger, checkLimitMs = CHECK_LIMIT_MS } = dependencies;
  const checks = dependencies.checks.map((check) => ({
    ...check,
    ask: withMemory(check, { clock, logger, checkLimitMs }),
  }));

  async function readiness() {
    const results = await Promise.all(checks.map(async (check) => ({ check, isGood: await check.ask() })));
    const bad = results.filter(({ isGood }) => !isGood).map(({ check }) => check);
    const reasons = bad.filter(({ isWarning }) => !isWarning).map(wordsOf);
    if (isShuttingDown()) reasons.push('the server is shutting down');
    const warnings = bad.filter(({ isWarning }) => isWarning).map(wordsOf);
    return {
      status: reasons.length === 0 ? 'ready' : 'not_ready',
      checks: Object.fromEntries(
        results.map(({ check, isGood }) => [check.name, isGood ? 'ok' : check.isWarning ? 'warning' : 'failed']),
      ),
      ...(reasons.length > 0 ? { reasons } : {}),
      ...(warnings.length > 0 ? { warnings } : {}),
    };
  }

  return async function health(context, next) {
    const isLive = context.path === '/health/live';
    if (!isLive && context.path !== '/health/ready') return next();
    context.set('Cache-Control', 'no-store');
    if (context.method !== 'GET' && context.method !== 'HEAD') {
      context.set('Allow', 'GET, HEAD');
      context.status = 405;
      context.body = { error: 'method_not_allowed' };
      return;
    }
    const answer = isLive ? { status: 'live' } : await readiness();
    context.status = answer.status === 'not_ready' ? 503 : 200;
    context.body = answer;
  };
}

function wordsOf({ reason }: HealthCheck): string {
  return typeof reason === 'string' ? reason : reason();
}

/**
 * Asks a check at most once in a while, and never again while its last question is open: a database that hangs must not
 * have a heap of questions waiting for it. Every change is logged once, with the error.
 */
function withMemory(
  check: HealthCheck,
  { clock, logger, checkLimitMs }: { clock: Clock; logger: Logger; checkLimitMs: number },
): () => Promise<boolean> {
  let known: { isGood: boolean; until: number } | undefined;
  let asking: Promise<boolean> | undefined;

  function learn(isGood: boolean, error?: unknown): boolean {
    if (isGood !== (known?.isGood ?? true)) {
      if (isGood) logger.info({ check: check.name }, 'a health check passes again');
      else logger.warn({ check: check.name, reason: wordsOf(check), err: error }, 'a health check fails');
    }
    known = { isGood, until: clock() + (isGood ? (check.believedForMs ?? BELIEVED_FOR_MS) : BELIEVED_FOR_MS) };
    return isGood;
  }

  function ask(): Promise<boolean> {
    asking ??= Promise.resolve()
      .then(() => check.check())
      .then(
        (isGood) => learn(isGood),
        (error: unknown) => learn(false, error),
      )
      .finally(() => {
        asking = undefined;
      });
    return asking;
  }

  return async () => {
    if (known !== undefined && clock() < known.until) return known.isGood;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(learn(false)), checkLimitMs);
    });
    try {
      return await Promise.race([ask(), late]);
    } finally {
      clearTimeout(timer);
    }
  };
}
