import { describe, expect, test } from '@jest/globals';
import { locateBinaries } from '../../../src/database/embedded/binaries.ts';
import { folderFault, outputFault } from '../../../src/database/embedded/embedded-fault.ts';

const systemError = (code: string) => Object.assign(new Error(code), { code });

describe('a fault of the embedded database', () => {
  test.each([
    ['EACCES', /\/data can't be written by this user; set DATA_DIR .*DATABASE_URL/],
    ['EROFS', /\/data can't be written by this user/],
    ['ENOSPC', /the disk that holds \/data is full/],
    ['ENOTDIR', /\/data is not a folder; set DATA_DIR/],
    ['EIO', /\/data can't be used: EIO/],
  ])('%s is explained with the folder and the remedy', (code, message) => {
    expect(folderFault('/data', systemError(code))).toMatchObject({
      code: 'database_unavailable',
      status: 503,
      message: expect.stringMatching(message),
    });
  });

  test('a full disk is recognised in what PostgreSQL prints', () => {
    const whole = 'FATAL:  could not extend file "base/1": No space left on device\nPANIC:  cannot abort';
    const partly =
      'FATAL:  could not extend file "base/1": wrote only 4096 of 8192 bytes\nHINT:  Check free disk space.';
    for (const output of [whole, partly]) {
      expect(outputFault('initdb failed', output, '/data').message).toMatch(/the disk that holds \/data is full/);
    }
  });

  test('the first complaint of PostgreSQL is the one that is told', () => {
    const output = 'LOG:  starting\nFATAL:  the cause\nPANIC:  a consequence\n';
    expect(outputFault('it failed', output, '/data').message).toBe('Embedded PostgreSQL: it failed: FATAL:  the cause');
    expect(outputFault('it failed', 'initdb: no such user\n', '/data').message).toMatch(
      /it failed: initdb: no such user$/,
    );
    expect(outputFault('it failed', '', '/data').message).toMatch(/without saying why/);
  });

  test('a platform without binaries is named, and what to do instead', async () => {
    const { arch } = process;
    Object.defineProperty(process, 'arch', { value: 'riscv64' });
    try {
      await expect(locateBinaries()).rejects.toThrow(
        /no binaries for \w+-riscv64; .*DATABASE_URL to a PostgreSQL 15 or newer/,
      );
    } finally {
      Object.defineProperty(process, 'arch', { value: arch });
    }
  });
});
