/**
 * The default of every setting, as it would stand in the environment; `src/config` reads, overrides and checks them.
 * A setting that is absent here has no default. Lengths of time are whole seconds.
 */
export const defaults = {
  PORT: '3000',
  LOG_LEVEL: 'info',
  DATA_DIR: '.data',
  WORKERS: '1',
  TRUST_PROXY: '',
  MTLS_PORT: '0',
  // RFC 9440, section 2.1.
  CLIENT_CERT_HEADER: 'Client-Cert',
  ALLOW_HTTP_ISSUER: 'false',
  // A person waits for it at every sign-in.
  CLAIMS_HOOK_TIMEOUT_MS: '500',
  CLAIMS_HOOK_ON_FAULT: 'refuse',
  // Off: it makes the server call whatever host a browser names.
  CLIENT_ID_METADATA_DOCUMENTS: 'false',
  // Off: whoever reaches the server could become a client of it.
  REGISTRATION: 'off',
  // For each address in an hour: an office that tries out a new agent, and nobody who fills the registry.
  REGISTRATIONS_PER_ADDRESS: '20',
  // A row each of a few KiB; whoever never comes back makes room after a month.
  REGISTRATION_MAX_CLIENTS: '10000',
  REGISTRATION_UNUSED_DAYS: '30',
  // Others ask more of every client, and refuse those that can't.
  PROFILE: 'oauth2.1',
  REQUIRE_PUSHED_REQUESTS: 'false',
  // All that OAuth 2.1 leaves (RFC 9700, section 2.1.2): what comes in a URL leaks through histories, logs and referrers.
  RESPONSE_TYPES: 'code',
  DATABASE_POOL_SIZE: '20',

  // RFC 6749, section 4.1.2 recommends at most ten minutes; a redirect needs far less.
  AUTHORIZATION_CODE_TTL: '60',
  // How long a device waits for its code to be typed in elsewhere.
  DEVICE_CODE_TTL: '600',
  // Short, because a JWT that is checked against /jwks alone lives until it expires.
  ACCESS_TOKEN_TTL: '600',
  ID_TOKEN_TTL: '3600',
  REFRESH_TOKEN_TTL: '1209600',
  SESSION_TTL: '1209600',
  // How long a person may take to sign in and to decide.
  INTERACTION_TTL: '3600',
  // How long a client whose answer was lost, or whose tabs refresh at once, may repeat a refresh (docs/refresh-tokens.md).
  REFRESH_TOKEN_LEEWAY: '10',

  // Servers and proxies take 8 KiB of headers, the smallest of them for all together: half of that is left to cookies and the rest.
  ACCESS_TOKEN_MAX_BYTES: '4096',

  // What signs. RS256 first: every client has to know it (OpenID Connect Core 1.0, section 15.1).
  SIGNING_ALGORITHMS: 'RS256,ES256',
  // 90 days: what is stolen unnoticed is of use for a quarter at most, and a rotation is no rare event that nobody dares.
  KEY_ROTATION_INTERVAL: '7776000',
  // 14 days: longer than anyone who caches /jwks keeps it, and enough for people who pin keys by hand.
  KEY_ANNOUNCE_TIME: '1209600',
  VAULT_TRANSIT_MOUNT: 'transit',
  VAULT_SEALS: 'true',

  // Live tokens and grants that one process keeps for a second at most; about 1.5 KiB each.
  TOKEN_CACHE_SIZE: '20000',

  // How long a use of an API key may wait to be counted in the database: what a process that is killed loses, and the time
  // in which several nodes together may exceed a quota. One statement each on a node that is used, whatever its keys.
  API_KEY_FLUSH_INTERVAL: '1',

  // argon2id, above OWASP's minimum (19 MiB, 2 passes, 1 lane); about 60 ms on a server core.
  ARGON2_MEMORY_KIB: '65536',
  ARGON2_PASSES: '2',
  ARGON2_LANES: '1',

  // Wrong passwords for one account from one address before waiting begins, and for one address over all accounts.
  SIGN_IN_ATTEMPTS_PER_ACCOUNT: '5',
  SIGN_IN_ATTEMPTS_PER_ADDRESS: '50',
  SIGN_IN_WINDOW: '900',
  // Codes of devices that an address may mistype in that time: 20 guesses of 2.6e10 are nothing, and offices share an address.
  USER_CODE_ATTEMPTS_PER_ADDRESS: '20',

  // Removing expired rows: how often, and how many rows one statement takes.
  SWEEP_INTERVAL: '60',
  SWEEP_BATCH: '1000',

  // How long the work in hand may take after SIGTERM before its connections are cut.
  SHUTDOWN_TIMEOUT: '25',
} as const;

/** What differs while developing and in tests: reachable from this machine alone, metrics on any free port. */
export const developmentDefaults = {
  HOST: '127.0.0.1,::1',
  OUTBOUND_PRIVATE_RANGES: '127.0.0.0/8,::1/128',
  METRICS_HOST: '127.0.0.1',
  METRICS_PORT: '0',
} as const;

export const productionDefaults = {
  HOST: '::',
  METRICS_HOST: '::',
  METRICS_PORT: '9464',
} as const;
