import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { developmentKeyEncryptionKey } from '../../../src/keys/index.ts';

/** Only root can give a folder to somebody else. */
const isRoot = process.getuid?.() === 0;

let parent: string;
let dataDirectory: string;
let path: string;

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'tessera keys '));
  dataDirectory = join(parent, 'not there yet', '.data');
  path = join(dataDirectory, 'key-encryption-key');
});
afterEach(() => rm(parent, { recursive: true }));

describe('the key-encryption key of a development server', () => {
  test('is made once: the next start reads the same', async () => {
    const first = await developmentKeyEncryptionKey(dataDirectory);
    expect(first).toHaveLength(32);
    expect(await developmentKeyEncryptionKey(dataDirectory)).toEqual(first);
  });

  test('is the same for all that start at once, and leaves no draft behind', async () => {
    for (let round = 0; round < 20; round += 1) {
      const directory = join(dataDirectory, String(round));
      // Some while the first one writes, some while it links, some when it has read its own.
      const keys = await Promise.all(
        Array.from({ length: 20 }, async (_, turns) => {
          for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate);
          return developmentKeyEncryptionKey(directory);
        }),
      );
      expect(new Set(keys.map((key) => key.toString('hex'))).size).toBe(1);
      expect(await readdir(directory)).toEqual(['key-encryption-key']);
    }
  });

  test('can be read by its owner alone', async () => {
    await developmentKeyEncryptionKey(dataDirectory);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  test('lies in a data directory that others can not list', async () => {
    await developmentKeyEncryptionKey(dataDirectory);
    expect((await stat(dataDirectory)).mode & 0o777).toBe(isRoot ? 0o711 : 0o700);
  });

  (isRoot ? test : test.skip)('made by root, it belongs to the owner of the data directory', async () => {
    const owner = { uid: 12_345, gid: 54_321 };
    await mkdir(dataDirectory, { recursive: true });
    await chown(dataDirectory, owner.uid, owner.gid);
    await developmentKeyEncryptionKey(dataDirectory);
    expect(await stat(path)).toMatchObject(owner);
  });

  test.each(['640', '604', '660', '622'])('is refused when others can reach it (mode %s)', async (mode) => {
    await developmentKeyEncryptionKey(dataDirectory);
    await chmod(path, Number.parseInt(mode, 8));
    await expect(developmentKeyEncryptionKey(dataDirectory)).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringContaining(`chmod 600 '${path}'`),
    });
  });

  test.each(['', 'short', 'not base64url, but of a length that would do!!'])(
    'is refused and left alone when it holds no key (%j)',
    async (content) => {
      await developmentKeyEncryptionKey(dataDirectory);
      await writeFile(path, content);
      await expect(developmentKeyEncryptionKey(dataDirectory)).rejects.toMatchObject({ code: 'configuration' });
      expect(await readFile(path, 'utf8')).toBe(content);
    },
  );

  test('a data directory that is a file is a fault of the configuration', async () => {
    const file = join(parent, 'file');
    await writeFile(file, '');
    await expect(developmentKeyEncryptionKey(file)).rejects.toMatchObject({ code: 'configuration' });
  });
});
