import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { defaults, developmentDefaults, productionDefaults } from '../../config/defaults.ts';
import { AppError } from '../errors.ts';
import { type Environment, environmentSchema } from './config-schema.ts';
import { type Fault, report } from './faults.ts';
import type { Profile } from './profiles.ts';
import type { ResponseType } from './response-types.ts';
import { type Mtls, reportTlsFaults, type Tls, toMtls, toTls } from './tls-settings.ts';

/** The whole configuration, checked and frozen. Lengths of time are seconds. */
export type Config = Readonly<{
  environment: 'development' | 'production' | 'test';
  isProduction: boolean;
  hosts: readonly string[];
  port: number;
  /** The issuer identifier: an origin, without a slash at its end (RFC 8414, section 2). */
  issuer: string;
  /** Whether people reach the issuer by https, so that cookies may be kept to it. */
  isSecure: boolean;
  /** Whether this is a developer's own server, reached from this machine alone: only there are secrets known to everybody. */
  isLocal: boolean;
  database: Readonly<{
    /** Absent: the embedded PostgreSQL under `dataDirectory`. */
    url: string | undefined;
    /** For LISTEN, migrations and jobs, where `url` is a pooler in transaction mode. */
    directUrl: string | undefined;
    poolSize: number;
  }>;
  /** Newest first; absent in development, where one is generated into the data directory. */
  keyEncryptionKeys: readonly Buffer[] | undefined;
  /** Absent: made by the server and kept sealed in the database. */
  cookieKeys: readonly string[] | undefined;
  trustedProxies: readonly string[];
  /** Absent: http, and a proxy ends TLS. */
  tls: Tls | undefined;
  /** Absent: not offered. */
  mtls: Mtls | undefined;
  /** What the server fetches from addresses that clients register. */
  outbound: Readonly<{ allowsHttp: boolean; privateRanges: readonly string[] }>;
  /** What every client is held to, whatever its own profile. */
  profile: Profile;
  /** Whether every authorization request has to be pushed (RFC 9126, section 5). */
  requiresPushedRequests: boolean;
  /** What authorization requests may ask for, of clients that are registered for it. */
  responseTypes: readonly ResponseType[];
  /** Whether clients may be described by a document at the URL that is their id, and be in no registry (docs/agents.md). */
  letsDescribedClientsIn: boolean;
  /** Whether clients may register themselves (docs/dynamic-registration.md): with a token of an operator, or anybody. */
  registration: Readonly<{
    mode: Environment['REGISTRATION'];
    /** In an hour. */
    perAddress: number;
    maxClients: number;
    /** After so many days one that was never used is removed. */
    unusedDays: number;
    softwareStatementIssuers: NonNullable<Environment['SOFTWARE_STATEMENT_ISSUERS']>;
  }>;
  /** A deployment's own code that is asked before a token is issued (docs/contextual-claims.md); absent: none. */
  claimsHook: Readonly<{ path: string; timeoutMs: number; onFault: Environment['CLAIMS_HOOK_ON_FAULT'] }> | undefined;
  /** A JWT access token that would be larger is refused. */
  maxAccessTokenBytes: number;
  metrics: Readonly<{ host: string; port: number }>;
  logLevel: Environment['LOG_LEVEL'];
  dataDirectory: string;
  lifetimes: Readonly<{
    authorizationCodeSeconds: number;
    deviceCodeSeconds: number;
    accessTokenSeconds: number;
    idTokenSeconds: number;
    refreshTokenSeconds: number;
    sessionSeconds: number;
    interactionSeconds: number;
    /** Within it a rotated refresh token may be used again; 0: never. */
    refreshLeewaySeconds: number;
  }>;
  /** How signing keys and the server's own keys live (docs/operations.md). */
  keyPolicy: Readonly<{
    algorithms: Environment['SIGNING_ALGORITHMS'];
    /** From one key's first signature to the next one's. */
    rotationSeconds: number;
    /** From a key's publication to its first signature. */
    announceSeconds: number;
  }>;
  /** Absent: keys are wrapped under `keyEncryptionKeys` alone. */
  vault:
    | Readonly<{
        address: string;
        token: string;
        namespace: string | undefined;
        mount: string;
        key: string;
        /** Whether it wraps what is new; else `keyEncryptionKeys` does, and Vault opens what it has wrapped. */
        seals: boolean;
      }>
    | undefined;
  /** Live tokens and grants that one process keeps for a second at most; 0: none. */
  tokenCacheSize: number;
  /** How long a use of an API key may wait to be counted in the database. */
  apiKeyFlushSeconds: number;
  /** Processes that serve on one port. */
  workers: number;
  passwordHash: Readonly<{ memoryKib: number; passes: number; lanes: number }>;
  signInLimits: Readonly<{ attemptsPerAccount: number; attemptsPerAddress: number; windowSeconds: number }>;
  userCodeLimits: Readonly<{ attemptsPerAddress: number; windowSeconds: number }>;
  sweep: Readonly<{ intervalSeconds: number; batchSize: number }>;
  shutdownTimeoutSeconds: number;
}>;

/**
 * Reads the environment, and a mounted file for every `NAME_FILE`. An empty variable counts as absent.
 *
 * @throws {AppError} `configuration`, with one line per fault, each naming its variable and what it wants
 */
export function loadConfig(environment: NodeJS.ProcessEnv): Config {
  const faults: Fault[] = [];
  const given = readGiven(environment, faults);
  const isProduction = given.NODE_ENV === 'production';
  const byMode = isProduction ? productionDefaults : developmentDefaults;
  const parsed = environmentSchema.safeParse({ ...defaults, ...byMode, ...given });
  for (const { path, message } of parsed.error?.issues ?? []) report(faults, String(path[0]), message);
  if (isProduction) reportProductionFaults(given, faults);
  if (given.ISSUER === undefined && /^0+$/.test(given.PORT ?? ''))
    report(faults, 'ISSUER', 'wants a value where PORT is 0');
  if (parsed.success && parsed.data.KEY_ANNOUNCE_TIME >= parsed.data.KEY_ROTATION_INTERVAL)
    report(faults, 'KEY_ANNOUNCE_TIME', 'wants less than KEY_ROTATION_INTERVAL: a key is announced before it is due');
  if (given.VAULT_ADDR !== undefined) reportVaultFaults(given, faults);
  reportTlsFaults(given, faults);
  if (!parsed.success || faults.length > 0) {
    throw new AppError({ code: 'configuration', message: faults.map(({ line }) => line).join('\n') });
  }
  return toConfig(parsed.data);
}

function readGiven(environment: NodeJS.ProcessEnv, faults: Fault[]): Record<string, string> {
  const given: Record<string, string> = {};
  for (const name of Object.keys(environmentSchema.shape)) {
    const value = environment[name];
    const file = environment[`${name}_FILE`];
    if (value) given[name] = value;
    if (!file) continue;
    if (value) {
      faults.push({ name, line: `${name} and ${name}_FILE are both set: keep one` });
      continue;
    }
    try {
      given[name] = readFileSync(file, 'utf8').trim();
    } catch {
      faults.push({ name, line: `${name}_FILE wants a file that can be read` });
    }
  }
  return given;
}

function reportVaultFaults(given: Readonly<Record<string, string>>, faults: Fault[]): void {
  if (given.VAULT_TOKEN === undefined)
    report(faults, 'VAULT_TOKEN', 'wants a token that may encrypt and decrypt where VAULT_ADDR is set');
  if (given.VAULT_TRANSIT_KEY === undefined)
    report(faults, 'VAULT_TRANSIT_KEY', 'wants the name of a key of the transit engine where VAULT_ADDR is set');
  if (given.VAULT_SEALS === 'false' && given.KEY_ENCRYPTION_KEY === undefined)
    report(faults, 'VAULT_SEALS', 'wants true where KEY_ENCRYPTION_KEY is not set: something has to seal');
}

/** OWASP's Password Storage Cheat Sheet: the least memory of argon2id, 19 MiB, with which two passes do. */
const LEAST_ARGON2_MEMORY_KIB = 19_456;

/** Looks at the settings as they were given, so that these are told together with whatever else is wrong. */
function reportProductionFaults(given: Readonly<Record<string, string>>, faults: Fault[]): void {
  if (given.ISSUER === undefined) {
    report(faults, 'ISSUER', 'wants the https URL that people and apps reach this server by');
  } else if (!given.ISSUER.startsWith('https:') && given.ALLOW_HTTP_ISSUER !== 'true') {
    report(faults, 'ISSUER', 'wants https in production (ALLOW_HTTP_ISSUER=true only on loopback or for a trial)');
  }
  if (given.DATABASE_URL === undefined) {
    report(faults, 'DATABASE_URL', 'wants a PostgreSQL in production: the embedded one is for development');
  }
  if (given.KEY_ENCRYPTION_KEY === undefined && given.VAULT_ADDR === undefined) {
    const want = 'wants 32 random bytes in base64url in production: it is never generated there';
    report(faults, 'KEY_ENCRYPTION_KEY', want);
  }
  const vault = URL.parse(given.VAULT_ADDR ?? '');
  if (vault?.protocol === 'http:' && !LOOPBACK_HOSTS.includes(vault.hostname)) {
    report(faults, 'VAULT_ADDR', 'wants https in production, but for a Vault or its agent on loopback');
  }
  if (Number(given.ARGON2_MEMORY_KIB ?? defaults.ARGON2_MEMORY_KIB) < LEAST_ARGON2_MEMORY_KIB) {
    const want = `wants at least ${LEAST_ARGON2_MEMORY_KIB} in production: less is for tests`;
    report(faults, 'ARGON2_MEMORY_KIB', want);
  }
}

function toVault(values: Environment): Config['vault'] {
  const { VAULT_ADDR: address, VAULT_TOKEN: token, VAULT_TRANSIT_KEY: key } = values;
  if (address === undefined || token === undefined || key === undefined) return undefined;
  const { VAULT_NAMESPACE: namespace, VAULT_TRANSIT_MOUNT: mount, VAULT_SEALS: seals } = values;
  return Object.freeze({ address, token, key, namespace, mount, seals });
}

const LOOPBACK_HOSTS = ['localhost', '127.0.0.1', '[::1]'];

function toConfig(values: Environment): Config {
  const secrets = { keyEncryptionKeys: values.KEY_ENCRYPTION_KEY, cookieKeys: values.COOKIE_KEYS };
  const scheme = values.TLS_CERT_FILE === undefined ? 'http' : 'https';
  const issuer = values.ISSUER ?? new URL(`${scheme}://localhost:${values.PORT}`).origin;
  const config: Config = {
    environment: values.NODE_ENV,
    isProduction: values.NODE_ENV === 'production',
    hosts: values.HOST,
    port: values.PORT,
    issuer,
    isSecure: issuer.startsWith('https:'),
    isLocal: values.NODE_ENV !== 'production' && LOOPBACK_HOSTS.includes(new URL(issuer).hostname),
    database: Object.freeze({
      url: values.DATABASE_URL,
      directUrl: values.DATABASE_DIRECT_URL ?? values.DATABASE_URL,
      poolSize: values.DATABASE_POOL_SIZE,
    }),
    ...secrets,
    trustedProxies: values.TRUST_PROXY,
    tls: toTls(values),
    mtls: toMtls(values, issuer),
    outbound: Object.freeze({
      allowsHttp: values.NODE_ENV !== 'production',
      privateRanges: values.OUTBOUND_PRIVATE_RANGES,
    }),
    profile: values.PROFILE,
    requiresPushedRequests: values.REQUIRE_PUSHED_REQUESTS,
    responseTypes: values.RESPONSE_TYPES,
    letsDescribedClientsIn: values.CLIENT_ID_METADATA_DOCUMENTS,
    registration: Object.freeze({
      mode: values.REGISTRATION,
      perAddress: values.REGISTRATIONS_PER_ADDRESS,
      maxClients: values.REGISTRATION_MAX_CLIENTS,
      unusedDays: values.REGISTRATION_UNUSED_DAYS,
      softwareStatementIssuers: values.SOFTWARE_STATEMENT_ISSUERS ?? Object.freeze([]),
    }),
    claimsHook:
      values.CLAIMS_HOOK === undefined
        ? undefined
        : Object.freeze({
            path: values.CLAIMS_HOOK,
            timeoutMs: values.CLAIMS_HOOK_TIMEOUT_MS,
            onFault: values.CLAIMS_HOOK_ON_FAULT,
          }),
    maxAccessTokenBytes: values.ACCESS_TOKEN_MAX_BYTES,
    metrics: Object.freeze({ host: values.METRICS_HOST, port: values.METRICS_PORT }),
    logLevel: values.LOG_LEVEL,
    dataDirectory: values.DATA_DIR,
    lifetimes: Object.freeze({
      authorizationCodeSeconds: values.AUTHORIZATION_CODE_TTL,
      deviceCodeSeconds: values.DEVICE_CODE_TTL,
      accessTokenSeconds: values.ACCESS_TOKEN_TTL,
      idTokenSeconds: values.ID_TOKEN_TTL,
      refreshTokenSeconds: values.REFRESH_TOKEN_TTL,
      sessionSeconds: values.SESSION_TTL,
      interactionSeconds: values.INTERACTION_TTL,
      refreshLeewaySeconds: values.REFRESH_TOKEN_LEEWAY,
    }),
    keyPolicy: Object.freeze({
      algorithms: values.SIGNING_ALGORITHMS,
      rotationSeconds: values.KEY_ROTATION_INTERVAL,
      announceSeconds: values.KEY_ANNOUNCE_TIME,
    }),
    vault: toVault(values),
    tokenCacheSize: values.TOKEN_CACHE_SIZE,
    apiKeyFlushSeconds: values.API_KEY_FLUSH_INTERVAL,
    workers: values.WORKERS,
    passwordHash: Object.freeze({
      memoryKib: values.ARGON2_MEMORY_KIB,
      passes: values.ARGON2_PASSES,
      lanes: values.ARGON2_LANES,
    }),
    signInLimits: Object.freeze({
      attemptsPerAccount: values.SIGN_IN_ATTEMPTS_PER_ACCOUNT,
      attemptsPerAddress: values.SIGN_IN_ATTEMPTS_PER_ADDRESS,
      windowSeconds: values.SIGN_IN_WINDOW,
    }),
    userCodeLimits: Object.freeze({
      attemptsPerAddress: values.USER_CODE_ATTEMPTS_PER_ADDRESS,
      windowSeconds: values.SIGN_IN_WINDOW,
    }),
    sweep: Object.freeze({ intervalSeconds: values.SWEEP_INTERVAL, batchSize: values.SWEEP_BATCH }),
    shutdownTimeoutSeconds: values.SHUTDOWN_TIMEOUT,
  };
  // A configuration that is printed, inspected or serialized by mistake shows no secret.
  const harmless = () => ({ issuer: config.issuer, environment: config.environment });
  Object.defineProperties(config, { toJSON: { value: harmless }, [inspect.custom]: { value: harmless } });
  return Object.freeze(config);
}
