import { randomBytes } from 'node:crypto';
import { link, mkdir, open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError } from '../errors.ts';
import { KEY_BYTES } from './authenticated-encryption.ts';

const FILE_NAME = 'key-encryption-key';
const OWNER_ONLY = 0o600;
const GROUP_AND_OTHERS = 0o077;

/**
 * The key-encryption key of a development server: made once into `<dataDirectory>/key-encryption-key`, readable by its
 * owner alone, the same for every process that starts on that directory.
 *
 * @throws {AppError} `configuration` when the file can be read by others, can't be read, or holds no key
 */
export async function developmentKeyEncryptionKey(dataDirectory: string): Promise<Buffer> {
  const path = join(dataDirectory, FILE_NAME);
  const present = await readKeyFile(path);
  if (present !== undefined) return present;
  try {
    await makeKeyFile(path);
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

/** Written whole under another name, then linked: of two processes one makes the file and neither reads half of it. */
async function makeKeyFile(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  const file = await open(draft, 'wx', OWNER_ONLY);
  try {
    await file.writeFile(`${randomBytes(KEY_BYTES).toString('base64url')}\n`);
    // On disk before anything is sealed under it: a power cut must not leave sealed rows without their key.
    await file.sync();
    await link(draft, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    await syncDirectory(dirname(path));
  } finally {
    await file.close();
    await rm(draft, { force: true });
  }
}

async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function fault(message: string, cause?: unknown): AppError {
  return new AppError({ code: 'configuration', message, cause });
}
