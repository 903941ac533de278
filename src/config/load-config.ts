import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { defaults, developmentDefaults, productionDefaults } from '../../config/defaults.ts';
import { AppError } from '../errors.ts';
import { type Environment, environmentSchema } from './config-schema.ts';

/** The whole configuration, checked and frozen. Lengths of time are seconds. */
export type Config = Readonly<{
  environment: 'development' | 'production' | 'test';
  isProduction: boolean;
  hosts: readonly string[];
  port: number;
  /** The issuer identifier: an origin, without a slash at its end (RFC 8414, section 2). */
  issuer: string;
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
  metrics: Readonly<{ host: string; port: number }>;
  logLevel: Environment['LOG_LEVEL'];
  dataDirectory: string;
  lifetimes: Readonly<{
    authorizationCodeSeconds: number;
    accessTokenSeconds: number;
    idTokenSeconds: number;
    refreshTokenSeconds: number;
    sessionSeconds: number;
    interactionSeconds: number;
  }>;
  passwordHash: Readonly<{ memoryKib: number; passes: number; lanes: number }>;
  signInLimits: Readonly<{ attemptsPerAccount: number; attemptsPerAddress: number; windowSeconds: number }>;
  sweep: Readonly<{ intervalSeconds: number; batchSize: number }>;
  shutdownTimeoutSeconds: number;
}>;

/**
 * Reads the environment, and a mounted file for every `NAME_FILE`. An empty variable counts as absent.
 *
 * @throws {AppError} `configuration`, with one line per fault, each naming its variable and what it wants
 */
export function loadConfig(environment: NodeJS.ProcessEnv): Config {
  const faults: string[] = [];
  const given = readGiven(environment, faults);
  const byMode = given.NODE_ENV === 'production' ? productionDefaults : developmentDefaults;
  const parsed = environmentSchema.safeParse({ ...defaults, ...byMode, ...given });
  if (!parsed.success) {
    faults.push(...parsed.error.issues.map((issue) => `${String(issue.path[0])} ${issue.message}`));
    throw invalidConfiguration(faults);
  }
  const values = parsed.data;
  faults.push(...productionFaults(values));
  if (values.ISSUER === undefined && values.PORT === 0) faults.push('ISSUER wants a value where PORT is 0');
  if (faults.length > 0) throw invalidConfiguration(faults);
  return toConfig(values);
}

function readGiven(environment: NodeJS.ProcessEnv, faults: string[]): Record<string, string> {
  const given: Record<string, string> = {};
  for (const name of Object.keys(environmentSchema.shape)) {
    const value = environment[name];
    const file = environment[`${name}_FILE`];
    if (value) given[name] = value;
    if (!file) continue;
    if (value) {
      faults.push(`${name} and ${name}_FILE are both set: keep one`);
      continue;
    }
    try {
      given[name] = readFileSync(file, 'utf8').trim();
    } catch {
      faults.push(`${name}_FILE wants a file that can be read`);
    }
  }
  return given;
}

function productionFaults(values: Environment): string[] {
  if (values.NODE_ENV !== 'production') return [];
  const faults: string[] = [];
  if (values.ISSUER === undefined) faults.push('ISSUER wants the https URL that people and apps reach this server by');
  else if (!values.ISSUER.startsWith('https:') && !values.ALLOW_HTTP_ISSUER) {
    faults.push('ISSUER wants https in production (ALLOW_HTTP_ISSUER=true only on loopback or for a trial)');
  }
  if (values.DATABASE_URL === undefined)
    faults.push('DATABASE_URL wants a PostgreSQL in production: the embedded one is for development');
  if (values.KEY_ENCRYPTION_KEY === undefined) {
    faults.push('KEY_ENCRYPTION_KEY wants 32 random bytes in base64url in production: it is never generated there');
  }
  return faults;
}

function invalidConfiguration(faults: readonly string[]): AppError {
  return new AppError({ code: 'configuration', message: faults.join('\n') });
}

function toConfig(values: Environment): Config {
  const secrets = { keyEncryptionKeys: values.KEY_ENCRYPTION_KEY, cookieKeys: values.COOKIE_KEYS };
  const config: Config = {
    environment: values.NODE_ENV,
    isProduction: values.NODE_ENV === 'production',
    hosts: values.HOST,
    port: values.PORT,
    issuer: values.ISSUER ?? `http://localhost:${values.PORT}`,
    database: Object.freeze({
      url: values.DATABASE_URL,
      directUrl: values.DATABASE_DIRECT_URL ?? values.DATABASE_URL,
      poolSize: values.DATABASE_POOL_SIZE,
    }),
    ...secrets,
    trustedProxies: values.TRUST_PROXY,
    metrics: Object.freeze({ host: values.METRICS_HOST, port: values.METRICS_PORT }),
    logLevel: values.LOG_LEVEL,
    dataDirectory: values.DATA_DIR,
    lifetimes: Object.freeze({
      authorizationCodeSeconds: values.AUTHORIZATION_CODE_TTL,
      accessTokenSeconds: values.ACCESS_TOKEN_TTL,
      idTokenSeconds: values.ID_TOKEN_TTL,
      refreshTokenSeconds: values.REFRESH_TOKEN_TTL,
      sessionSeconds: values.SESSION_TTL,
      interactionSeconds: values.INTERACTION_TTL,
    }),
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
    sweep: Object.freeze({ intervalSeconds: values.SWEEP_INTERVAL, batchSize: values.SWEEP_BATCH }),
    shutdownTimeoutSeconds: values.SHUTDOWN_TIMEOUT,
  };
  // A configuration that is printed, inspected or serialized by mistake shows no secret.
  const harmless = () => ({ issuer: config.issuer, environment: config.environment });
  Object.defineProperties(config, { toJSON: { value: harmless }, [inspect.custom]: { value: harmless } });
  return Object.freeze(config);
}
