import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { z } from 'zod';
import { PROFILES } from './profiles.ts';
import { RESPONSE_TYPES, toResponseType } from './response-types.ts';

const KEY_BYTES = 32;
const MAX_TTL_SECONDS = 365 * 24 * 60 * 60;
/** Longer than the second within which every node has loaded what was published: a key that one lacks must not sign. */
const LEAST_ANNOUNCE_SECONDS = 2;
/** Far above the cores of one machine that PostgreSQL's connections would suffice for. */
const MAX_WORKERS = 64;

const text = z.string().trim().min(1);
const integer = (minimum: number, maximum: number) =>
  z
    .string()
    .regex(/^\d+$/, `wants a whole number from ${minimum} to ${maximum}`)
    .transform(Number)
    .refine((n) => n >= minimum && n <= maximum, `wants a whole number from ${minimum} to ${maximum}`);
const seconds = integer(1, MAX_TTL_SECONDS);
const flag = z.enum(['true', 'false'], 'wants true or false').transform((value) => value === 'true');
const list = z.string().transform((value) =>
  Object.freeze(
    value
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== ''),
  ),
);

const addressRange = z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()]);
const addressRanges = list.refine(
  (entries) => entries.every((entry) => addressRange.safeParse(entry).success),
  'wants addresses or CIDR ranges, comma separated, such as 10.0.0.0/8',
);

/** Node's decoder passes over what is no base64: a key with a typing error would be another key. */
const isBase64 = (value: string) => /^[\w+/-]+={0,2}$/.test(value);

const encryptionKeys = list
  .refine(
    (keys) =>
      keys.length > 0 && keys.every((key) => isBase64(key) && Buffer.from(key, 'base64url').length === KEY_BYTES),
    'wants 32 random bytes in base64url (several comma separated, newest first); make one with: openssl rand -base64 32 | tr +/ -_ | tr -d =',
  )
  .transform((keys) => Object.freeze(keys.map((key) => Buffer.from(key, 'base64url'))));

const cookieKeys = list.refine(
  (keys) => keys.length > 0 && keys.every((key) => isBase64(key) && Buffer.from(key, 'base64url').length >= KEY_BYTES),
  'wants at least 32 random bytes in base64url (several comma separated, newest first)',
);

const issuer = text.superRefine((value, context) => {
  const url = URL.parse(value);
  const fault =
    url === null || !/^https?:$/.test(url.protocol)
      ? 'wants an https URL such as https://id.example.com'
      : value.endsWith('/') || url.pathname !== '/' || url.search !== '' || url.hash !== '' || url.username !== ''
        ? 'wants an origin alone, without path, query, fragment or a slash at its end'
        : value !== url.origin
          ? `wants its normal form, ${url.origin}`
          : undefined;
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
});

const httpsOrigin = text.refine((value) => {
  const url = URL.parse(value);
  return url?.protocol === 'https:' && url.origin === value;
}, 'wants an https origin such as https://mtls.example.com:8443, without a slash at its end');

/** RFC 9110, section 5.1; Node has header names in lower case. */
const headerName = text
  .regex(/^[\w!#$%&'*+.^`|~-]+$/, 'wants the name of a header')
  .transform((name) => name.toLowerCase());

const databaseUrl = text.refine((value) => /^postgres(ql)?:$/.test(URL.parse(value)?.protocol ?? ''), {
  message: 'wants a PostgreSQL URL such as postgres://user:password@host:5432/tessera',
});

/** RFC 7518, section 3.1 and RFC 8037, section 3.1; nothing symmetric: what verifies must not be able to sign. */
export const SIGNING_ALGORITHMS = ['RS256', 'ES256', 'PS256', 'EdDSA'] as const;
const algorithm = z.enum(SIGNING_ALGORITHMS);
const signingAlgorithms = list
  .refine(
    (names) =>
      names.includes('RS256') &&
      new Set(names).size === names.length &&
      names.every((name) => algorithm.safeParse(name).success),
    `wants RS256 and any of ${SIGNING_ALGORITHMS.slice(1).join(', ')}, comma separated`,
  )
  .transform((names) => Object.freeze(names.map((name) => algorithm.parse(name))));

const WANTED_RESPONSE_TYPES = `wants code and any of ${RESPONSE_TYPES.slice(1).join(', ')}, comma separated`;
const responseTypes = list.transform((names, context) => {
  const types = names.flatMap((name) => toResponseType(name) ?? []);
  if (types.length === names.length && new Set(types).size === types.length && types.includes('code')) {
    return Object.freeze(types);
  }
  context.addIssue({ code: 'custom', message: WANTED_RESPONSE_TYPES });
  return z.NEVER;
});

const softwareStatementIssuer = z.union([
  z.strictObject({ issuer: text, jwks: z.object({ keys: z.array(z.looseObject({ kty: z.string() })).min(1) }) }),
  z
    .strictObject({ issuer: text, jwks_uri: z.url({ protocol: /^https$/ }) })
    .transform(({ issuer: name, jwks_uri: jwksUri }) => ({ issuer: name, jwksUri })),
]);
const WANTED_STATEMENT_ISSUERS = 'wants JSON: a list of {"issuer", "jwks"} or {"issuer", "jwks_uri"}, each once';
const softwareStatementIssuers = text.transform((value, context) => {
  const parsed = z.array(softwareStatementIssuer).safeParse(parseJson(value));
  if (parsed.success && new Set(parsed.data.map((given) => given.issuer)).size === parsed.data.length) {
    return frozen(parsed.data);
  }
  context.addIssue({ code: 'custom', message: WANTED_STATEMENT_ISSUERS });
  return z.NEVER;
});

/** A frozen copy, all the way down, of what can be written as JSON. */
function frozen<T extends object>(value: T): Readonly<T> {
  return JSON.parse(JSON.stringify(value), (_, member: unknown) => Object.freeze(member));
}

function parseJson(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}

const vaultAddress = text.refine((value) => {
  const url = URL.parse(value);
  if (url === null || !/^https?:$/.test(url.protocol)) return false;
  // It is quoted in messages: nothing secret may stand in it.
  return [url.username, url.password, url.search, url.hash].every((part) => part === '');
}, 'wants the URL of Vault, such as https://vault.example.com:8200');
/** Goes into paths of Vault's API as it is. */
const vaultName = text.regex(/^[\w-]+(\/[\w-]+)*$/, 'wants a name of letters, digits, - and _');

/** Every setting under its name in the environment: what it wants, and what becomes of it. */
export const environmentSchema = z.object({
  NODE_ENV: z
    .enum(['development', 'production', 'test'], 'wants development, production or test')
    .default('development'),
  HOST: list.refine((hosts) => hosts.length > 0, 'wants at least one address to listen on'),
  PORT: integer(0, 65_535),
  ISSUER: issuer.optional(),
  ALLOW_HTTP_ISSUER: flag,
  DATABASE_URL: databaseUrl.optional(),
  DATABASE_DIRECT_URL: databaseUrl.optional(),
  // Shared out between two pools, in each of which one slow statement must not keep all others waiting.
  DATABASE_POOL_SIZE: integer(4, 1_000),
  KEY_ENCRYPTION_KEY: encryptionKeys.optional(),
  COOKIE_KEYS: cookieKeys.optional(),
  TRUST_PROXY: addressRanges,
  OUTBOUND_PRIVATE_RANGES: addressRanges.prefault(''),
  CLIENT_ID_METADATA_DOCUMENTS: flag,
  REGISTRATION: z.enum(['off', 'token', 'open'], 'wants off, token or open'),
  REGISTRATIONS_PER_ADDRESS: integer(1, 1_000_000),
  REGISTRATION_MAX_CLIENTS: integer(1, 10_000_000),
  REGISTRATION_UNUSED_DAYS: integer(1, 3_650),
  SOFTWARE_STATEMENT_ISSUERS: softwareStatementIssuers.optional(),
  CLAIMS_HOOK: text.transform((path) => resolve(path)).optional(),
  CLAIMS_HOOK_TIMEOUT_MS: integer(10, 5_000),
  CLAIMS_HOOK_ON_FAULT: z.enum(['refuse', 'ignore'], 'wants refuse or ignore'),
  PROFILE: z.enum(PROFILES, `wants one of ${PROFILES.join(', ')}`),
  REQUIRE_PUSHED_REQUESTS: flag,
  RESPONSE_TYPES: responseTypes,
  TLS_CERT_FILE: text.optional(),
  TLS_KEY_FILE: text.optional(),
  MTLS_PORT: integer(0, 65_535),
  MTLS_CA_FILE: text.optional(),
  MTLS_BASE_URL: httpsOrigin.optional(),
  CLIENT_CERT_HEADER: headerName,
  CLIENT_CERT_VERIFIED_HEADER: headerName.optional(),
  METRICS_HOST: text,
  METRICS_PORT: integer(0, 65_535),
  LOG_LEVEL: z.enum(
    ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
    'wants trace, debug, info, warn, error, fatal or silent',
  ),
  DATA_DIR: text.transform((path) => resolve(path)),
  WORKERS: z
    .string()
    .refine(
      (value) => value === 'auto' || (/^\d+$/.test(value) && Number(value) >= 1 && Number(value) <= MAX_WORKERS),
      `wants a number of processes from 1 to ${MAX_WORKERS}, or auto for one per core`,
    )
    .transform((value) => (value === 'auto' ? Math.min(availableParallelism(), MAX_WORKERS) : Number(value))),
  AUTHORIZATION_CODE_TTL: integer(1, 600),
  DEVICE_CODE_TTL: integer(60, 3_600),
  ACCESS_TOKEN_TTL: seconds,
  ID_TOKEN_TTL: seconds,
  REFRESH_TOKEN_TTL: seconds,
  SESSION_TTL: seconds,
  INTERACTION_TTL: integer(30, 24 * 60 * 60),
  REFRESH_TOKEN_LEEWAY: integer(0, 60),
  // From what a token needs at all to what no server takes in a header.
  ACCESS_TOKEN_MAX_BYTES: integer(1_024, 65_536),
  SIGNING_ALGORITHMS: signingAlgorithms,
  KEY_ROTATION_INTERVAL: seconds,
  KEY_ANNOUNCE_TIME: integer(LEAST_ANNOUNCE_SECONDS, MAX_TTL_SECONDS),
  VAULT_ADDR: vaultAddress.optional(),
  VAULT_TOKEN: text.optional(),
  VAULT_NAMESPACE: text.optional(),
  VAULT_TRANSIT_KEY: vaultName.optional(),
  VAULT_TRANSIT_MOUNT: vaultName,
  VAULT_SEALS: flag,
  TOKEN_CACHE_SIZE: integer(0, 1_000_000),
  API_KEY_FLUSH_INTERVAL: integer(1, 60),
  // From what test suites can bear, through what RFC 9106 (section 4) asks of a server, to its 2 GiB and some room.
  ARGON2_MEMORY_KIB: integer(8_192, 4_194_304),
  ARGON2_PASSES: integer(1, 100),
  ARGON2_LANES: integer(1, 64),
  SIGN_IN_ATTEMPTS_PER_ACCOUNT: integer(1, 1_000),
  SIGN_IN_ATTEMPTS_PER_ADDRESS: integer(1, 1_000_000),
  SIGN_IN_WINDOW: seconds,
  USER_CODE_ATTEMPTS_PER_ADDRESS: integer(1, 1_000),
  SWEEP_INTERVAL: seconds,
  SWEEP_BATCH: integer(1, 100_000),
  SHUTDOWN_TIMEOUT: integer(1, 600),
});

export type Environment = z.infer<typeof environmentSchema>;
