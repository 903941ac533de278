import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { readClusterRecord } from '../../../src/database/embedded/cluster-record.ts';
import { openEmbeddedDatabase } from '../../../src/database/embedded/index.ts';
import { disownPostmasterFile, runningPostmaster } from '../../../src/database/embedded/postmaster-file.ts';
import { openPrivateLog } from '../../../src/database/private-files.ts';
import { freshFolder } from '../../harness/fresh-folder.ts';
import { silentLogger } from '../../harness/loggers.ts';
import { isRoot } from '../../harness/process-table.ts';

if (!isRoot) process.stderr.write('not run: only root can be led astray by the owner of a folder\n');

const idOf = (kind: string) => Number(execFileSync('/usr/bin/id', [kind, 'nobody'], { encoding: 'utf8' }));

/** A process id that is given out, in the form of postmaster.pid. */
const SOMEBODYS_PID = `${process.pid}\nsecond line\n`;

(isRoot ? describe : describe.skip)('root in a folder of somebody else', () => {
  let folder: ReturnType<typeof freshFolder>;
  /** A file that only root may read and write. */
  let precious: string;
  beforeEach(() => {
    folder = freshFolder();
    const hidden = `${folder.path}-of-root`;
    mkdirSync(hidden, { mode: 0o700 });
    precious = join(hidden, 'precious');
    writeFileSync(precious, SOMEBODYS_PID, { mode: 0o600 });
    chownSync(folder.path, idOf('-u'), idOf('-g'));
  });
  afterEach(() => {
    rmSync(dirname(precious), { recursive: true });
    folder.remove();
  });

  const leaveLink = (name: string) => symlinkSync(precious, join(folder.path, name));
  const leaveSecondName = (name: string) => linkSync(precious, join(folder.path, name));
  const leavePipe = (name: string) => execFileSync('/bin/sh', ['-c', 'mkfifo "$1"', 'sh', join(folder.path, name)]);

  function expectUntouched(): void {
    expect(readFileSync(precious, 'utf8')).toBe(SOMEBODYS_PID);
    expect(lstatSync(precious)).toMatchObject({ uid: 0, mode: 0o100600 });
  }

  test.each([
    ['a link', leaveLink],
    ['a second name of another file', leaveSecondName],
    ['a pipe', leavePipe],
  ])('writes through no postmaster.pid that is %s', (_, leave) => {
    leave('postmaster.pid');
    expect(() => disownPostmasterFile(folder.path)).toThrow(/must be a file, without links/);
    expectUntouched();
  });

  test('neither reads through a link nor waits for a pipe in its place', () => {
    leaveLink('postmaster.pid');
    expect(() => runningPostmaster(folder.path)).toThrow(/must be a file, without links/);
    rmSync(join(folder.path, 'postmaster.pid'));
    leavePipe('postmaster.pid');
    expect(() => runningPostmaster(folder.path)).toThrow(/must be a file, without links/);
  });

  test('disowns a postmaster.pid that is a plain file', () => {
    writeFileSync(join(folder.path, 'postmaster.pid'), SOMEBODYS_PID);
    disownPostmasterFile(folder.path);
    expect(readFileSync(join(folder.path, 'postmaster.pid'), 'utf8')).toBe('2147483646\nsecond line\n');
  });

  test.each([
    ['a link', leaveLink],
    ['a second name of another file', leaveSecondName],
  ])('gives away no file by a log that is %s', (_, leave) => {
    leave('postgres.log');
    expect(() => openPrivateLog(join(folder.path, 'postgres.log'))).toThrow(/must be a file, without links/);
    expectUntouched();
  });

  test.each([
    ['a link', leaveLink],
    ['a second name of another file', leaveSecondName],
    ['a pipe', leavePipe],
  ])('takes no record that is %s, and repeats nothing of it', (_, leave) => {
    leave('postgres.json');
    expect(() => readClusterRecord(folder.path)).toThrow(/must be a file, without links/);
  });

  test.each(['second line', '[]', '{"password":"x@evil.example/"}', '{"password":"secret","port":"5432"}'])(
    'takes no record that was not written for it, and repeats nothing of it: %s',
    (content) => {
      writeFileSync(join(folder.path, 'postgres.json'), content);
      expect(() => readClusterRecord(folder.path)).toThrow(/postgres.json is not what was written there; restore it$/);
    },
  );

  describe('follows no relocation', () => {
    const record = (relocatedTo: string) =>
      writeFileSync(join(folder.path, 'postgres.json'), JSON.stringify({ password: 'a'.repeat(43), relocatedTo }));
    const refusal = /which was not made for it by root/;

    test('to a place of its owner’s choice: nothing is made there, nor given away', async () => {
      const victim = join(dirname(precious), 'service.d');
      record(victim);
      await expect(
        openEmbeddedDatabase({ dataDirectory: folder.path, logger: silentLogger }).then((opened) => opened.destroy()),
      ).rejects.toThrow(refusal);
      expect(existsSync(victim)).toBe(false);
    });

    test.each([
      '/var/lib/tessera-x/../../../etc/postgres',
      '/var/lib/elsewhere/postgres',
      '/var/lib/tessera-of-another/postgres',
      '/var/lib/postgres',
      '/root/tessera-x/postgres',
    ])('to %s', (relocatedTo) => {
      record(relocatedTo);
      expect(() => readClusterRecord(folder.path)).toThrow(refusal);
    });

    test('to a folder, named as those of root, that somebody else made, or that is a link', () => {
      const owned = mkdtempSync(join(tmpdir(), 'tessera-'));
      const linked = `${owned}-link`;
      const dataDirectory = `${owned}-data`;
      mkdirSync(dataDirectory);
      try {
        const write = (relocatedTo: string) =>
          writeFileSync(join(dataDirectory, 'postgres.json'), JSON.stringify({ password: 'secret', relocatedTo }));
        write(join(owned, 'postgres'));
        expect(readClusterRecord(dataDirectory)?.relocatedTo).toBe(join(owned, 'postgres'));
        chmodSync(owned, 0o777);
        expect(() => readClusterRecord(dataDirectory)).toThrow(refusal);
        chmodSync(owned, 0o711);
        chownSync(owned, idOf('-u'), idOf('-g'));
        expect(() => readClusterRecord(dataDirectory)).toThrow(refusal);
        symlinkSync(dirname(precious), linked);
        write(join(linked, 'postgres'));
        expect(() => readClusterRecord(dataDirectory)).toThrow(refusal);
      } finally {
        for (const path of [owned, linked, dataDirectory]) rmSync(path, { recursive: true, force: true });
      }
    });
  });
});
