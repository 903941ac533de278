import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { claimKeeping, currentKeeper, type KeeperAddress } from '../../../src/database/embedded/keeper-lock.ts';
import { identifyProcess, isRunning, type ProcessIdentity } from '../../../src/database/embedded/process-identity.ts';

const here = identifyProcess(process.pid) as ProcessIdentity;
/** This process id with another start: the id was given out again. */
const gone: ProcessIdentity = { pid: here.pid, startedAt: 'long ago' };
const address = (keeper: ProcessIdentity, port = 1): KeeperAddress => ({ keeper, port, token: 'a token' });

describe('the claim of a keeper', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tessera-lock-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test('an empty folder has no keeper', () => {
    expect(currentKeeper(folder)).toBeUndefined();
  });

  test('a claim holds as long as its process runs', () => {
    expect(claimKeeping(folder, address(here, 1))).toBe(true);
    expect(claimKeeping(folder, address(here, 2))).toBe(false);
    expect(currentKeeper(folder)).toEqual(address(here, 1));
  });

  test('a claim of a process that has gone is outbid, although its process id lives on', () => {
    expect(claimKeeping(folder, address(gone, 1))).toBe(true);
    expect(currentKeeper(folder)).toBeUndefined();
    expect(claimKeeping(folder, address(here, 2))).toBe(true);
    expect(currentKeeper(folder)).toEqual(address(here, 2));
  });

  test('generations only grow, and the old ones and all drafts are removed', () => {
    for (const port of [1, 2, 3]) claimKeeping(folder, address(gone, port));
    claimKeeping(folder, address(here, 4));
    expect(readdirSync(folder)).toEqual(['4.json']);
  });

  test('nobody else may read the secret in it', () => {
    claimKeeping(folder, address(here));
    if (process.platform !== 'win32') expect(statSync(join(folder, '1.json')).mode & 0o777).toBe(0o600);
  });

  test('a claim that is being written counts as one; what a crash left half written does not', () => {
    writeFileSync(join(folder, '1.json'), '');
    expect(claimKeeping(folder, address(here))).toBe(false);
    writeFileSync(join(folder, '1.json'), '{"keeper":');
    expect(claimKeeping(folder, address(here))).toBe(true);
  });
});

describe('the identity of a process', () => {
  test('a process that has ended is not running', async () => {
    const child = spawn(process.execPath, ['--eval', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
    const identity = identifyProcess(child.pid ?? 0) as ProcessIdentity;
    expect(isRunning(identity)).toBe(true);
    const ended = new Promise((resolve) => child.on('exit', resolve));
    child.kill('SIGKILL');
    await ended;
    expect(isRunning(identity)).toBe(false);
  });

  test('a process id that was given out again is another process', () => {
    expect(isRunning(here)).toBe(true);
    expect(isRunning(gone)).toBe(false);
  });
});
