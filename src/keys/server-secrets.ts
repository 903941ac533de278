import { inspect } from 'node:util';
import type { Knex } from 'knex';
import type { Audit } from '../audit/index.ts';
import { announceChange } from '../database/index.ts';
import { AppError } from '../errors.ts';
import { advanceServerSecrets } from './advance-server-secrets.ts';
import type { KeyWrapper } from './key-wrapper.ts';
import { resealServerSecrets } from './reseal-server-secrets.ts';
import { createSealer, type Sealer } from './sealer.ts';
import {
  makeServerSecret,
  type RotatingSecretName,
  SERVER_SECRET_NAMES,
  type ServerSecretName,
  unwrapServerSecret,
} from './server-secret.ts';
import type { ServerSecretPolicy } from './server-secret-policy.ts';
import {
  insertMissingServerSecrets,
  lockServerSecrets,
  readServerSecrets,
  type StoredServerSecret,
} from './server-secret-store.ts';
import { readSigningKeys } from './signing-key-store.ts';

/** What all nodes on one database share and nobody else knows. Each is 32 random bytes; prints as nothing. */
export type ServerSecrets = Readonly<{
  /** Sign cookies; base64url: the first signs, each verifies. */
  cookieKeys: readonly string[];
  /** Makes the nonces of DPoP proofs (RFC 9449, section 8). */
  dpopNonceSecret: Buffer;
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

/** The server's secrets on one node, as they rotate on all of them. */
export type RotatingServerSecrets = Readonly<{
  /**
   * Opens the secrets, and makes them where the database is new. Nodes that start at once end with the same ones.
   *
   * @throws {AppError} as `reload` does, and `server_error` where one is missing in a database that has signing keys;
   *   before anything is written
   */
  ensure(): Promise<void>;
  /** As they were at the last `ensure` or `reload`. */
  current(): ServerSecrets;
  /**
   * Takes over what was changed on any node; what is open already is not opened again.
   *
   * @throws {AppError} `configuration` when the key-encryption key does not fit; `server_error` when a row was altered
   */
  reload(): Promise<void>;
  /** Does what is due by the policy, by the database's clock, on any number of nodes at once. @throws as the wrapper does */
  advance(): Promise<void>;
  /** Wraps every one anew, under the newest key-encryption key. @returns how many @throws as `reload` does */
  reseal(): Promise<number>;
}>;

/** After the cookies that a key has signed have expired: room for clocks that are apart. */
const RETENTION_MARGIN_SECONDS = 60;

/**
 * The server's own secrets for all nodes on one database.
 *
 * @param dependencies.policy.longestCookieSeconds how long a cookie may be good after it was set
 * @param dependencies.policy.rotatesCookieKeys false where the operator gives the cookie keys
 */
export function createServerSecrets(dependencies: {
  knex: Knex;
  wrapper: KeyWrapper;
  audit: Pick<Audit, 'recordWithin'>;
  policy: Readonly<{
    rotationSeconds: number;
    announceSeconds: number;
    longestCookieSeconds: number;
    rotatesCookieKeys: boolean;
  }>;
}): RotatingServerSecrets {
  const { knex, wrapper, policy } = dependencies;
  const open = createOpener(wrapper);
  let current: ServerSecrets | undefined;
  let loading: Promise<void> = Promise.resolve();

  async function load(): Promise<void> {
    current = toServerSecrets(await open(await readServerSecrets(knex)));
  }

  async function ensure(): Promise<void> {
    const { missing } = await openStored(knex, open);
    if (missing.length > 0) {
      const made = await Promise.all(missing.map((name) => makeServerSecret(wrapper, name, 1)));
      await knex.transaction(async (trx) => {
        await lockServerSecrets(trx);
        await insertMissingServerSecrets(trx, made);
        await announceChange(trx, 'keys');
      });
    }
    // Another node may have been faster: what counts is what stands in the database.
    await load();
  }

  return Object.freeze({
    ensure,
    current() {
      if (current === undefined) throw new Error('the server secrets are asked for before they were opened');
      return current;
    },
    reload() {
      // One after the other: what was read earlier must never replace what was read later.
      loading = loading.catch(() => undefined).then(load);
      return loading;
    },
    advance: () => advanceServerSecrets(dependencies, rotationPolicies(policy)),
    reseal: () => resealServerSecrets(dependencies),
  });
}

function rotationPolicies({
  rotationSeconds,
  announceSeconds,
  longestCookieSeconds,
  rotatesCookieKeys,
}: Parameters<typeof createServerSecrets>[0]['policy']): ReadonlyMap<RotatingSecretName, ServerSecretPolicy> {
  const policies = new Map<RotatingSecretName, ServerSecretPolicy>();
  const often = { rotationSeconds, announceSeconds };
  if (rotatesCookieKeys) {
    policies.set('cookie_key', { ...often, retentionSeconds: longestCookieSeconds + RETENTION_MARGIN_SECONDS });
  }
  // The library knows one at a time. Who has a nonce of the one before is told another (`use_dpop_nonce`).
  policies.set('dpop_nonce_secret', { ...often, retentionSeconds: 0 });
  return policies;
}

/**
 * Opens the server's secrets, and writes nothing. Undefined while some are yet to be made.
 *
 * @throws {AppError} as `ensure` does
 */
export async function openServerSecrets(dependencies: {
  knex: Knex;
  wrapper: KeyWrapper;
}): Promise<ServerSecrets | undefined> {
  const { opened, missing } = await openStored(dependencies.knex, createOpener(dependencies.wrapper));
  return missing.length === 0 ? toServerSecrets(opened) : undefined;
}

type OpenedVersion = Readonly<{ stored: StoredServerSecret; value: Buffer }>;
/** By their names: the one in use first, then the announced one, then those before, newest first. */
type OpenedSecrets = ReadonlyMap<string, readonly OpenedVersion[]>;

/** Remembers what it has opened: a reload asks who holds the key-encryption key for what is new, and for nothing else. */
function createOpener(wrapper: KeyWrapper) {
  let known = new Map<string, Buffer>();
  return async (secrets: readonly StoredServerSecret[]): Promise<OpenedSecrets> => {
    const versions = await Promise.all(
      secrets.map(async (stored) => {
        const value = known.get(identityOf(stored)) ?? (await unwrapServerSecret(wrapper, stored));
        return { stored, value };
      }),
    );
    known = new Map(versions.map(({ stored, value }) => [identityOf(stored), value]));
    return Map.groupBy(
      versions.toSorted((a, b) => rankOf(a.stored) - rankOf(b.stored)),
      ({ stored }) => stored.name,
    );
  };
}

/** What is stored, and what is yet to be made. @throws {AppError} as `ensure` does */
async function openStored(
  knex: Knex,
  open: ReturnType<typeof createOpener>,
): Promise<{ opened: OpenedSecrets; missing: ServerSecretName[] }> {
  // Read first: a start makes secrets before keys, so that one which is missing beside a key was lost, not yet to be made.
  const isInUse = (await readSigningKeys(knex)).length > 0;
  const opened = await open(await readServerSecrets(knex));
  const missing = SERVER_SECRET_NAMES.filter((name) => !opened.has(name));
  if (isInUse && missing.length > 0) throw lost(missing);
  return { opened, missing };
}

/** Another one in its place would be worse than no start: every pairwise `sub` would change, sealed rows never open. */
function lost(names: readonly ServerSecretName[]): AppError {
  return new AppError({
    code: 'server_error',
    message:
      `the table server_secrets has lost ${names.join(', ')}: restore it from a backup; ` +
      'nothing was changed, and none is made anew, as what hangs on it would be lost',
  });
}

function identityOf({ name, version }: StoredServerSecret): string {
  return `${name} ${version}`;
}

function rankOf({ activatedAt, retiredAt }: StoredServerSecret): number {
  if (activatedAt === undefined) return 1;
  return retiredAt === undefined ? 0 : 2;
}

function toServerSecrets(opened: OpenedSecrets): ServerSecrets {
  const inUse = (name: ServerSecretName): Buffer => {
    const first = opened.get(name)?.[0];
    if (first !== undefined && rankOf(first.stored) === 0) return first.value;
    throw new AppError({ code: 'server_error', message: `the server secret ${name} is gone` });
  };
  const others = (name: RotatingSecretName): Buffer[] => (opened.get(name) ?? []).slice(1).map(({ value }) => value);
  const secrets: ServerSecrets = {
    // The announced one verifies, too: a node that has seen it take over may have signed what comes here next.
    cookieKeys: [inUse('cookie_key'), ...others('cookie_key')].map((key) => key.toString('base64url')),
    dpopNonceSecret: inUse('dpop_nonce_secret'),
    userCodeKey: inUse('user_code_key'),
    csrfKey: inUse('csrf_key'),
    pseudonymKey: inUse('pseudonym_key'),
    pairwiseSecret: inUse('pairwise_secret'),
    artifactSealer: createSealer(inUse('artifact_key')),
  };
  const nothing = () => 'ServerSecrets';
  Object.defineProperties(secrets, { toJSON: { value: nothing }, [inspect.custom]: { value: nothing } });
  return Object.freeze(secrets);
}
