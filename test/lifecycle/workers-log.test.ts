import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { freshFolder } from '../harness/fresh-folder.ts';
import { noProcessLeft, type ServerProcess, startServerProcess } from '../harness/process.ts';
import { noProcessTable } from '../harness/process-table.ts';
import { until } from '../harness/until.ts';
import { keeperPid } from '../integration/database/embedded-processes.ts';

let folder: ReturnType<typeof freshFolder>;
const servers: ServerProcess[] = [];
beforeAll(() => {
  folder = freshFolder();
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.dispose();
  await noProcessLeft(folder.path);
});
afterAll(() => folder.remove());

/** Two workers on the embedded database, and what they are by the log. */
async function started(): Promise<{ server: ServerProcess; workers: number[] }> {
  const server = await startServerProcess({ dataDirectory: folder.path, environment: { WORKERS: '2' } });
  servers.push(server);
  await until('it is started', () => server.output().includes('issuer '));
  const [, pids = ''] = /INFO: 2 workers serve: (.*)/.exec(server.output()) ?? [];
  return { server, workers: pids.split(', ').map(Number) };
}

const isRunning = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

test('the log names the workers at the start, and who serves in place of one that died', async () => {
  const { server, workers } = await started();
  expect(new Set(workers).size).toBe(2);
  expect(workers).not.toContain(server.pid);
  expect(workers.every(isRunning)).toBe(true);
  expect(server.output()).not.toContain('in place of');
  process.kill(workers[0] ?? 0, 'SIGKILL');
  const pid = await until('another serves', () =>
    /a worker serves in place of one that died\s+worker: (\d+)\s+ready: 2/.exec(server.output())?.at(1),
  );
  expect(isRunning(Number(pid))).toBe(true);
  expect(workers).not.toContain(Number(pid));
});

(noProcessTable === undefined ? test : test.skip)(
  'a keeper that was killed is told once, not by each process',
  async () => {
    const { server } = await started();
    const killed = keeperPid(folder.path);
    process.kill(killed, 'SIGKILL');
    await until('another has taken over', () => keeperPid(folder.path) !== killed);
    await server.ready();
    await server.stop();
    expect(server.output().split('was killed; another takes over')).toHaveLength(2);
    expect(server.output()).not.toContain('ERROR');
  },
);
