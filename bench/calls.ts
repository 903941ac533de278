/** Questions and answers between the bench and the processes that it starts, over Node's IPC. */
import { type ChildProcess, fork } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

type Handlers = Readonly<Record<string, (input: never) => unknown>>;
type Question = { id: number; name: string; input: unknown };
type Answer = { id: number; value?: unknown; fault?: string };

/** Answers the questions of the parent; ends with it. */
export function answerParent(handlers: Handlers): void {
  process.on('message', async ({ id, name, input }: Question) => {
    const answer: Answer = { id };
    try {
      answer.value = await handlers[name]?.(input as never);
    } catch (error) {
      answer.fault = error instanceof Error ? (error.stack ?? error.message) : String(error);
    }
    // Nobody hears it where the parent has gone meanwhile.
    process.send?.(answer, undefined, undefined, () => undefined);
  });
  process.on('disconnect', () => process.exit(0));
  // Ctrl-C reaches the whole group: the parent says when it is over.
  process.on('SIGINT', () => undefined);
}

export type Process<H extends Handlers> = Readonly<{
  pid: number;
  /** @throws what the handler threw, or that the process has ended */
  ask<Name extends keyof H & string>(
    name: Name,
    ...input: Parameters<H[Name]> extends [] ? [] : [Parameters<H[Name]>[0]]
  ): Promise<Awaited<ReturnType<H[Name]>>>;
  end(): Promise<void>;
}>;

/**
 * Starts a module of this folder as a process.
 *
 * @param options.logFile where its standard output goes
 */
export function startProcess<H extends Handlers>(
  module: string,
  options: { environment?: Record<string, string>; logFile: string },
): Process<H> {
  const log = openSync(options.logFile, 'a');
  const child: ChildProcess = fork(fileURLToPath(new URL(module, import.meta.url)), {
    env: { PATH: process.env.PATH, ...options.environment },
    execArgv: [],
    serialization: 'advanced',
    stdio: ['ignore', log, 'inherit', 'ipc'],
  });
  closeSync(log);
  const open = new Map<number, { resolve(value: never): void; reject(error: Error): void }>();
  let lastId = 0;
  child.on('message', ({ id, value, fault }: Answer) => {
    const waiter = open.get(id);
    open.delete(id);
    if (fault !== undefined) waiter?.reject(new Error(`${module}: ${fault}`));
    else waiter?.resolve(value as never);
  });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      for (const { reject } of open.values()) reject(new Error(`${module} has ended (${code ?? signal})`));
      open.clear();
      resolve();
    });
  });
  return Object.freeze({
    pid: child.pid ?? 0,
    ask(name: string, input?: unknown) {
      return new Promise<never>((resolve, reject) => {
        if (!child.connected) return reject(new Error(`${module} has ended`));
        lastId += 1;
        open.set(lastId, { resolve, reject });
        child.send({ id: lastId, name, input } satisfies Question);
      });
    },
    async end() {
      if (child.connected) child.disconnect();
      await ended;
    },
  });
}
