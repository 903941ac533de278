/** Turns many concurrent requests into few statements. */
export type Batcher<Request, Answer> = Readonly<{
  /** Answered when the batch that carried the request is done, or rejected with the reason of its failure. */
  submit(request: Request): Promise<Answer>;
  /** Resolves when nothing waits or runs. */
  drain(): Promise<void>;
}>;

type Pending<Request, Answer> = {
  request: Request;
  key: string | undefined;
  resolve(answer: Answer): void;
  reject(error: unknown): void;
};

/**
 * Rows per statement. What a statement costs besides its rows (round trip, commit) is shared well by 50; up to 256 the
 * parameters stay around 200 kB and the locks of a batch are held for a few milliseconds.
 */
const MAX_BATCH_SIZE = 256;

/**
 * Batches that run at once. Two keep the database busy while an answer travels back; more would only split what arrives
 * into smaller batches, and take connections from the pool.
 */
const MAX_CONCURRENT_BATCHES = 2;

/**
 * What arrives in one turn of the event loop travels together; while all batches allowed are running, more gathers.
 *
 * @param options.run answers a batch, one answer per request in their order; must not answer before it is durable
 * @param options.keyOf requests of one key are never in two running batches, so that they keep their order
 * @param options.isFaultOfOneRow whether a failure may be due to one member: then each is tried again alone
 */
export function createBatcher<Request, Answer>(options: {
  run(requests: readonly Request[]): Promise<readonly Answer[]>;
  keyOf?: (request: Request) => string;
  isFaultOfOneRow(error: unknown): boolean;
}): Batcher<Request, Answer> {
  let waiting: Pending<Request, Answer>[] = [];
  const busyKeys = new Set<string>();
  const drained: (() => void)[] = [];
  let runningCount = 0;
  let isScheduled = false;

  /** The longest waiting that may run now; those of a busy key keep their place. */
  function takeBatch(): Pending<Request, Answer>[] {
    const batch: Pending<Request, Answer>[] = [];
    const rest: Pending<Request, Answer>[] = [];
    for (const pending of waiting) {
      const isBusy = pending.key !== undefined && busyKeys.has(pending.key);
      (isBusy || batch.length === MAX_BATCH_SIZE ? rest : batch).push(pending);
    }
    waiting = rest;
    return batch;
  }

  function startBatches(): void {
    isScheduled = false;
    while (runningCount < MAX_CONCURRENT_BATCHES && waiting.length > 0) {
      const batch = takeBatch();
      if (batch.length === 0) return;
      runningCount += 1;
      for (const { key } of batch) if (key !== undefined) busyKeys.add(key);
      void runBatch(batch).then(() => {
        runningCount -= 1;
        for (const { key } of batch) if (key !== undefined) busyKeys.delete(key);
        if (waiting.length > 0) startBatches();
        else if (runningCount === 0) for (const done of drained.splice(0)) done();
      });
    }
  }

  /** @returns the reason, where it failed; nobody was answered then */
  async function attempt(batch: readonly Pending<Request, Answer>[]): Promise<{ error: unknown } | undefined> {
    try {
      const answers = await options.run(batch.map(({ request }) => request));
      batch.forEach((pending, index) => {
        pending.resolve(answers[index] as Answer);
      });
      return undefined;
    } catch (error) {
      return { error };
    }
  }

  async function runBatch(batch: readonly Pending<Request, Answer>[]): Promise<void> {
    const failure = await attempt(batch);
    if (failure === undefined) return;
    if (batch.length > 1 && options.isFaultOfOneRow(failure.error)) await runOneByOne(batch);
    else rejectAll(batch, failure.error);
  }

  /** What is no row's fault fails all that are left: one after the other they would wait for a database that is away. */
  async function runOneByOne(batch: readonly Pending<Request, Answer>[]): Promise<void> {
    for (const [index, pending] of batch.entries()) {
      const failure = await attempt([pending]);
      if (failure === undefined) continue;
      if (!options.isFaultOfOneRow(failure.error)) return rejectAll(batch.slice(index), failure.error);
      pending.reject(failure.error);
    }
  }

  return Object.freeze({
    submit(request: Request) {
      return new Promise<Answer>((resolve, reject) => {
        waiting.push({ request, key: options.keyOf?.(request), resolve, reject });
        if (isScheduled) return;
        isScheduled = true;
        setImmediate(startBatches);
      });
    },
    drain() {
      return new Promise<void>((resolve) => {
        if (runningCount === 0 && waiting.length === 0) resolve();
        else drained.push(resolve);
      });
    },
  });
}

function rejectAll(batch: readonly Pick<Pending<unknown, unknown>, 'reject'>[], error: unknown): void {
  for (const pending of batch) pending.reject(error);
}

/**
 * SQLSTATE classes that one row can cause: data exception (22), constraint (23), limits exceeded by a value (54). And
 * 40, a transaction that had to give way: alone, each has its way. What says that the database is away is not among them.
 */
export function isFaultOfOneRow(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^(22|23|40|54)...$/.test(String(error.code));
}

/** Of the items of one key the first alone: no statement may name a row twice. */
export function distinct<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  return [...new Map(items.toReversed().map((item) => [keyOf(item), item])).values()];
}
