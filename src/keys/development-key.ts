import { randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { createPrivateFile, ensureDataDirectory } from '../database/index.ts';
import { AppError } from '../errors.ts';
import { KEY_BYTES } from './authenticated-encryption.ts';

const GROUP_AND_OTHERS = 0o077;

/** Where the key-encryption key of a development server lies. */
export function developmentKeyPath(dataDirectory: string): string {
  return join(dataDirectory, 'key-encryption-key');
}

/**
 * The key-encryption key of a development server: made once into {@link developmentKeyPath}, readable by its
 * owner alone, the same for every process that starts on that directory.
 *
 * @throws {AppError} `configuration` when the file can be read by others, can't be read, or holds no key
 */
export async function developmentKeyEncryptionKey(dataDirectory: string): Promise<Buffer> {
  const path = developmentKeyPath(dataDirectory);
  const present = await readKeyFile(path);
  if (present !== undefined) return present;
  try {
    ensureDataDirectory(dataDirectory);
    // On disk before anything is sealed under it: a power cut must not leave sealed rows without their key.
    createPrivateFile(path, `${randomBytes(KEY_BYTES).toString('base64url')}\n`);
  } catch (cause) {
    throw fault(`'${path}' can't be written: DATA_DIR wants a directory that the server may write to`, cause);
  }
  const made = await readKeyFile(path);
  if (made === undefined) throw fault(`'${path}' was removed while the server started`);
  return made;
}

async function readKeyFile(path: string): Promise<Buffer | undefined> {
  const file = await open(path, 'r').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined;
    throw fault(`'${path}' can't be read: it holds the key-encryption key of this data directory`, cause);
  });
  if (file === undefined) return undefined;
  try {
    const { mode } = await file.stat();
    // Windows has no such bits: there the profile folder protects the file.
    if (process.platform !== 'win32' && (mode & GROUP_AND_OTHERS) !== 0) {
      throw fault(`'${path}' holds the key-encryption key and others may read it: chmod 600 '${path}'`);
    }
    const text = (await file.readFile('utf8')).trim();
    const key = Buffer.from(text, 'base64url');
    if (key.length !== KEY_BYTES || key.toString('base64url') !== text) {
      throw fault(`'${path}' wants ${KEY_BYTES} bytes in base64url: put back the key that this data directory had`);
    }
    return key;
  } finally {
    await file.close();
  }
}

function fault(message: string, cause?: unknown): AppError {
  return new AppError({ code: 'configuration', message, cause });
}
