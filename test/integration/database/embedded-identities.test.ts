import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { binariesAt, locateBinaries } from '../../../src/database/embedded/binaries.ts';
import { canReach } from '../../../src/database/embedded/cluster-owner.ts';
import { openEmbeddedDatabase } from '../../../src/database/embedded/index.ts';
import { reachableBinaries } from '../../../src/database/embedded/reachable-binaries.ts';
import { query } from '../../harness/database.ts';
import { freshFolder } from '../../harness/fresh-folder.ts';
import { silentLogger } from '../../harness/loggers.ts';
import { isRoot } from '../../harness/process-table.ts';
import { startUser } from './embedded-processes.ts';

if (!isRoot) process.stderr.write('not run: only root can become another user\n');

const idOf = (kind: string, name: string) => Number(execFileSync('/usr/bin/id', [kind, name], { encoding: 'utf8' }));
const nobody = isRoot ? { uid: idOf('-u', 'nobody'), gid: idOf('-g', 'nobody') } : { uid: -1, gid: -1 };
const repository = dirname(dirname(dirname(import.meta.dirname)));
const canRunSources = isRoot && [repository, process.execPath].every((path) => canReach(nobody, '-x', path));
if (isRoot && !canRunSources) process.stderr.write('not run as nobody: that user cannot reach this checkout\n');

(isRoot ? describe : describe.skip)('as root, whom PostgreSQL refuses', () => {
  let home: string;
  beforeEach(() => {
    home = mkdtempSync(join(homedir(), 'tessera-embedded-'));
    chmodSync(home, 0o700);
  });
  afterEach(() => rmSync(home, { recursive: true, force: true }));

  test('a private home keeps its data elsewhere, says so, and finds them again', async () => {
    const lines: string[] = [];
    const logger = pino({}, { write: (line: string) => lines.push(line) });
    const first = await openEmbeddedDatabase({ dataDirectory: join(home, '.data'), logger });
    await query(first.url, 'create table kept as select 42 as answer');
    await first.close();
    const { relocatedTo } = JSON.parse(readFileSync(join(home, '.data', 'postgres.json'), 'utf8'));
    expect(lines.filter((line) => line.includes(relocatedTo))).toHaveLength(1);
    expect(lines.join('')).not.toContain(new URL(first.url).password);
    expect(statSync(relocatedTo).uid).not.toBe(0);
    expect(statSync(dirname(relocatedTo))).toMatchObject({ uid: 0, mode: 0o40711 });

    const second = await openEmbeddedDatabase({ dataDirectory: join(home, '.data'), logger: silentLogger });
    expect(await query(second.url, 'select answer from kept')).toEqual([{ answer: 42 }]);
    await second.destroy();
    expect(existsSync(dirname(relocatedTo))).toBe(false);
  });

  test('programs in a private home are copied to where the database user can run them and not change them', async () => {
    const installed = await locateBinaries();
    const hidden = join(home, 'package', 'native');
    cpSync(installed.home, hidden, { recursive: true, verbatimSymlinks: true });
    // A version that nobody else has, so that the copy is this test's own.
    const version = `18.0.0-test-${process.pid}`;
    const copy = reachableBinaries(binariesAt(hidden, version), nobody);
    try {
      expect(copy.home).not.toBe(hidden);
      expect(execFileSync(copy.postgres, ['--version'], { ...nobody, cwd: '/', encoding: 'utf8' })).toMatch(
        /PostgreSQL/,
      );
      expect(statSync(copy.home)).toMatchObject({ uid: 0, mode: 0o40755 });
      expect(reachableBinaries(binariesAt(hidden, version), nobody)).toEqual(copy);

      chownSync(copy.home, nobody.uid, nobody.gid);
      expect(reachableBinaries(binariesAt(hidden, version), nobody).home).not.toBe(copy.home);
    } finally {
      for (const parent of ['/var/lib', '/var/tmp', tmpdir()]) {
        execFileSync('/bin/sh', ['-c', 'rm -rf "$1"/tessera-postgres-"$2"-*', 'sh', parent, version]);
      }
    }
  });

  test('programs that were installed without scripts are mended', async () => {
    const installed = await locateBinaries();
    const package_ = mkdtempSync(join(tmpdir(), 'tessera-embedded-'));
    chmodSync(package_, 0o755);
    const incomplete = binariesAt(join(package_, 'native'), installed.version);
    cpSync(installed.home, incomplete.home, { recursive: true, verbatimSymlinks: true });
    execFileSync('/usr/bin/find', [join(incomplete.home, 'lib'), '-type', 'l', '-delete']);
    for (const program of [incomplete.postgres, incomplete.initdb]) chmodSync(program, 0o644);
    expect(reachableBinaries(incomplete, nobody)).toEqual(incomplete);
    expect(execFileSync(incomplete.initdb, ['--version'], { ...nobody, cwd: '/', encoding: 'utf8' })).toMatch(
      /PostgreSQL/,
    );
    rmSync(package_, { recursive: true });
  });
});

(canRunSources ? describe : describe.skip)('as an ordinary user', () => {
  let folder: ReturnType<typeof freshFolder>;
  beforeEach(() => {
    folder = freshFolder();
  });
  afterEach(() => folder.remove());

  test('everything is in DATA_DIR and belongs to that user', async () => {
    chownSync(folder.path, nobody.uid, nobody.gid);
    chmodSync(folder.path, 0o700);
    const user = startUser(folder.path, nobody);
    const url = await user.hears('opened');
    expect(await query(url, 'select 1 as one')).toEqual([{ one: 1 }]);
    for (const name of ['postgres', 'postgres.json', 'postgres.log', 'postgres-keeper']) {
      expect([name, statSync(join(folder.path, name)).uid]).toEqual([name, nobody.uid]);
    }
    await user.close();
  });

  test('root and the owner of the folder may use it in turn and together', async () => {
    chownSync(folder.path, nobody.uid, nobody.gid);
    chmodSync(folder.path, 0o700);
    const root = await openEmbeddedDatabase({ dataDirectory: folder.path, logger: silentLogger });
    const user = startUser(folder.path, nobody);
    expect(await user.hears('opened')).toBe(root.url);
    await root.close();
    await user.close();
    const alone = startUser(folder.path, nobody);
    expect(await alone.hears('opened')).toBe(root.url);
    await alone.close();
  });

  test('a folder that the user cannot write to is named', async () => {
    const user = startUser(folder.path, nobody);
    expect(await user.hears('fault')).toMatch(/can't be written by this user; set DATA_DIR/);
    await user.ended;
  });

  test("someone else's cluster is named", async () => {
    const owner = await openEmbeddedDatabase({ dataDirectory: folder.path, logger: silentLogger });
    await owner.close();
    const user = startUser(folder.path, nobody);
    expect(await user.hears('fault')).toMatch(/can't be written by this user/);
    await user.ended;
  });
});
