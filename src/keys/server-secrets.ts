import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import type { Knex } from 'knex';
import type { Clock } from '../config/index.ts';
import { AppError } from '../errors.ts';
import { KEY_BYTES, UnsealError } from './authenticated-encryption.ts';
import type { KeyWrapper } from './key-wrapper.ts';
import { createSealer, type Sealer } from './sealer.ts';
import { insertMissingServerSecrets, readServerSecrets, type StoredServerSecret } from './server-secret-store.ts';

/** What all nodes on one database share and nobody else knows. Each is 32 random bytes; prints as nothing. */
export type ServerSecrets = Readonly<{
  /** Sign cookies; base64url, newest first: the first signs, each verifies. */
  cookieKeys: readonly string[];
  /** HMAC key for the digests of user codes, which are too short for a bare digest. */
  userCodeKey: Buffer;
  /** HMAC key for the tokens of forms. */
  csrfKey: Buffer;
  /** HMAC key for what is counted about people without being named, such as attempts to sign in. */
  pseudonymKey: Buffer;
  /** Salt of pairwise subjects (OpenID Connect Core, section 8.1). Never replaced: every pairwise `sub` hangs on it. */
  pairwiseSecret: Buffer;
  /** Seals what the protocol has to get back from the database in clear. */
  artifactSealer: Sealer;
}>;

const NAMES = ['artifact_key', 'cookie_key', 'csrf_key', 'pairwise_secret', 'pseudonym_key', 'user_code_key'] as const;
type SecretName = (typeof NAMES)[number];

/**
 * Opens the server's secrets, and writes nothing. Undefined while some are yet to be made.
 *
 * @throws {AppError} `configuration` when KEY_ENCRYPTION_KEY does not fit; `server_error` when a row was altered
 */
export async function openServerSecrets(dependencies: {
  knex: Knex;
  wrapper: KeyWrapper;
}): Promise<ServerSecrets | undefined> {
  const opened = await openAll(dependencies);
  return missingIn(opened).length === 0 ? toServerSecrets(opened) : undefined;
}

/**
 * Opens the server's secrets, and makes those that are missing. Nodes that start at once end with the same ones.
 *
 * @throws {AppError} as `openServerSecrets` does, before anything is written
 */
export async function ensureServerSecrets(dependencies: {
  knex: Knex;
  wrapper: KeyWrapper;
  clock: Clock;
}): Promise<ServerSecrets> {
  const { knex, wrapper, clock } = dependencies;
  const opened = await openAll(dependencies);
  const missing = missingIn(opened);
  if (missing.length === 0) return toServerSecrets(opened);
  const createdAt = new Date(clock());
  const made = await Promise.all(missing.map((name) => make(wrapper, name, createdAt)));
  await insertMissingServerSecrets(knex, made);
  // Another node may have been faster: what counts is what stands in the database.
  return toServerSecrets(await openAll(dependencies));
}

function missingIn(opened: OpenedSecrets): SecretName[] {
  return NAMES.filter((name) => !opened.has(name));
}

async function make(wrapper: KeyWrapper, name: SecretName, createdAt: Date): Promise<StoredServerSecret> {
  const version = 1;
  const wrappedKey = await wrapper.wrap(randomBytes(KEY_BYTES), wrappingContext(name, version));
  return { name, version, wrappedKey, createdAt };
}

/** By their names, the newest of each first. */
type OpenedSecrets = ReadonlyMap<string, readonly [Buffer, ...Buffer[]]>;

async function openAll({ knex, wrapper }: { knex: Knex; wrapper: KeyWrapper }): Promise<OpenedSecrets> {
  const opened = new Map<string, [Buffer, ...Buffer[]]>();
  for (const secret of await readServerSecrets(knex)) {
    const value = await open(wrapper, secret);
    const older = opened.get(secret.name);
    if (older === undefined) opened.set(secret.name, [value]);
    else older.push(value);
  }
  return opened;
}

async function open(wrapper: KeyWrapper, { name, version, wrappedKey }: StoredServerSecret): Promise<Buffer> {
  try {
    return await wrapper.unwrap(wrappedKey, wrappingContext(name, version));
  } catch (cause) {
    if (!(cause instanceof UnsealError)) throw cause;
    throw new AppError({
      code: 'server_error',
      message: `the server secret ${name} was altered in the database: restore the table server_secrets from a backup`,
      cause,
    });
  }
}

function toServerSecrets(opened: OpenedSecrets): ServerSecrets {
  const versions = (name: SecretName): readonly [Buffer, ...Buffer[]] => {
    const values = opened.get(name);
    if (values === undefined)
      throw new AppError({ code: 'server_error', message: `the server secret ${name} is gone` });
    return values;
  };
  const secrets: ServerSecrets = {
    cookieKeys: versions('cookie_key').map((key) => key.toString('base64url')),
    userCodeKey: versions('user_code_key')[0],
    csrfKey: versions('csrf_key')[0],
    pseudonymKey: versions('pseudonym_key')[0],
    pairwiseSecret: versions('pairwise_secret')[0],
    artifactSealer: createSealer(versions('artifact_key')[0]),
  };
  const nothing = () => 'ServerSecrets';
  Object.defineProperties(secrets, { toJSON: { value: nothing }, [inspect.custom]: { value: nothing } });
  return Object.freeze(secrets);
}

function wrappingContext(name: string, version: number): string {
  return `server-secret ${name} ${version}`;
}
