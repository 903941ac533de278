import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { loadConfig } from '../../../src/config/index.ts';
import { faultsOf } from '../../harness/config-faults.ts';

const KEY = Buffer.alloc(32, 7).toString('base64url');
const OTHER_KEY = Buffer.alloc(32, 8).toString('base64url');
const production = {
  NODE_ENV: 'production',
  ISSUER: 'https://id.example.com',
  DATABASE_URL: 'postgres://tessera:hunter2@db.example.com/tessera',
  KEY_ENCRYPTION_KEY: KEY,
};

describe('defaults', () => {
  test('nothing has to be set for development, which is reachable from this machine alone', () => {
    const config = loadConfig({});
    expect(config).toMatchObject({
      environment: 'development',
      isProduction: false,
      hosts: ['127.0.0.1', '::1'],
      port: 3000,
      issuer: 'http://localhost:3000',
      database: { url: undefined, directUrl: undefined, poolSize: 20 },
      keyEncryptionKeys: undefined,
      cookieKeys: undefined,
      trustedProxies: [],
      metrics: { host: '127.0.0.1', port: 0 },
      logLevel: 'info',
      shutdownTimeoutSeconds: 25,
    });
    expect(config.dataDirectory).toBe(join(process.cwd(), '.data'));
    expect(config.lifetimes.authorizationCodeSeconds).toBe(60);
    expect(config.lifetimes.accessTokenSeconds).toBe(600);
  });

  test('the issuer follows the port', () => {
    expect(loadConfig({ PORT: '4000' }).issuer).toBe('http://localhost:4000');
  });

  test('whether cookies are kept to https follows from the issuer', () => {
    expect(loadConfig({}).isSecure).toBe(false);
    expect(loadConfig(production).isSecure).toBe(true);
    expect(loadConfig({ ...production, ISSUER: 'http://127.0.0.1:3000', ALLOW_HTTP_ISSUER: 'true' }).isSecure).toBe(
      false,
    );
  });

  test('a server is a developer’s own where its issuer is on this machine, and never in production', () => {
    expect(loadConfig({}).isLocal).toBe(true);
    expect(loadConfig({ ISSUER: 'http://[::1]:3000' }).isLocal).toBe(true);
    expect(loadConfig({ ISSUER: 'https://id.example.com' }).isLocal).toBe(false);
    expect(loadConfig({ ISSUER: 'http://localhost.example.com' }).isLocal).toBe(false);
    const onLoopback = { ...production, ISSUER: 'http://127.0.0.1:3000', ALLOW_HTTP_ISSUER: 'true' };
    expect(loadConfig(onLoopback).isLocal).toBe(false);
  });

  test('production listens everywhere, has a fixed metrics port, and wants three settings', () => {
    expect(loadConfig(production)).toMatchObject({
      isProduction: true,
      hosts: ['::'],
      metrics: { host: '::', port: 9464 },
      issuer: 'https://id.example.com',
      database: { url: production.DATABASE_URL, directUrl: production.DATABASE_URL },
    });
  });

  test('an empty value counts as absent', () => {
    expect(loadConfig({ PORT: '', ISSUER: '', DATABASE_URL: '', NODE_ENV: '', KEY_ENCRYPTION_KEY_FILE: '' }).port).toBe(
      3000,
    );
    expect(faultsOf({ ...production, KEY_ENCRYPTION_KEY: '' })).toHaveLength(1);
  });

  test('what is given wins over a default of either mode', () => {
    const config = loadConfig({ ...production, HOST: '10.0.0.1', METRICS_HOST: '127.0.0.1', METRICS_PORT: '9000' });
    expect(config).toMatchObject({ hosts: ['10.0.0.1'], metrics: { host: '127.0.0.1', port: 9000 } });
    const direct = 'postgresql://db/direct';
    expect(loadConfig({ ...production, DATABASE_DIRECT_URL: direct }).database.directUrl).toBe(direct);
  });
});

describe('a bad value stops the start with a line that names the setting and what it wants', () => {
  test.each([
    ['NODE_ENV', 'Production', 'wants development, production or test'],
    ['HOST', ' , ', 'wants at least one address to listen on'],
    ['PORT', '65536', 'wants a whole number from 0 to 65535'],
    ['PORT', '80a', 'wants a whole number from 0 to 65535'],
    ['PORT', '-1', 'wants a whole number from 0 to 65535'],
    ['PORT', '3000.5', 'wants a whole number from 0 to 65535'],
    ['METRICS_PORT', '70000', 'wants a whole number from 0 to 65535'],
    ['ISSUER', 'id.example.com', 'wants an https URL such as https://id.example.com'],
    ['ISSUER', 'ftp://id.example.com', 'wants an https URL such as https://id.example.com'],
    ['ISSUER', 'https://id.example.com/', 'wants an origin alone'],
    ['ISSUER', 'https://id.example.com/auth', 'wants an origin alone'],
    ['ISSUER', 'https://id.example.com?a=b', 'wants an origin alone'],
    ['ISSUER', 'https://id.example.com#a', 'wants an origin alone'],
    ['ISSUER', 'https://user@id.example.com', 'wants an origin alone'],
    ['ISSUER', 'https://ID.example.com', 'wants its normal form, https://id.example.com'],
    ['ISSUER', 'https://id.example.com:443', 'wants its normal form, https://id.example.com'],
    ['ALLOW_HTTP_ISSUER', 'yes', 'wants true or false'],
    ['DATABASE_URL', 'mysql://db/tessera', 'wants a PostgreSQL URL'],
    ['DATABASE_URL', 'db.example.com', 'wants a PostgreSQL URL'],
    ['DATABASE_DIRECT_URL', 'http://db/tessera', 'wants a PostgreSQL URL'],
    ['DATABASE_POOL_SIZE', '3', 'wants a whole number from 4 to 1000'],
    ['KEY_ENCRYPTION_KEY', 'c2hvcnQ', 'wants 32 random bytes in base64url'],
    ['KEY_ENCRYPTION_KEY', `${KEY},c2hvcnQ`, 'wants 32 random bytes in base64url'],
    ['KEY_ENCRYPTION_KEY', `${KEY}${KEY}`, 'wants 32 random bytes in base64url'],
    ['KEY_ENCRYPTION_KEY', ',', 'wants 32 random bytes in base64url'],
    ['KEY_ENCRYPTION_KEY', Buffer.alloc(32, 7).toString('hex'), 'wants 32 random bytes in base64url'],
    ['KEY_ENCRYPTION_KEY', `${KEY}!!`, 'wants 32 random bytes in base64url'],
    ['COOKIE_KEYS', 'c2hvcnQ', 'wants at least 32 random bytes in base64url'],
    [
      'COOKIE_KEYS',
      'a cookie key that somebody has typed in, with spaces',
      'wants at least 32 random bytes in base64url',
    ],
    ['TRUST_PROXY', '10.0.0.0/33', 'wants addresses or CIDR ranges'],
    ['TRUST_PROXY', 'proxy.example.com', 'wants addresses or CIDR ranges'],
    ['TRUST_PROXY', '10.0.0.1/', 'wants addresses or CIDR ranges'],
    ['LOG_LEVEL', 'verbose', 'wants trace, debug, info, warn, error, fatal or silent'],
    ['WORKERS', '0', 'wants a number of processes from 1 to 64, or auto'],
    ['WORKERS', '65', 'wants a number of processes from 1 to 64, or auto'],
    ['WORKERS', 'many', 'wants a number of processes from 1 to 64, or auto'],
    ['REFRESH_TOKEN_LEEWAY', '61', 'wants a whole number from 0 to 60'],
    ['SIGNING_ALGORITHMS', 'ES256', 'wants RS256 and any of ES256, PS256, EdDSA'],
    ['SIGNING_ALGORITHMS', 'RS256,HS256', 'wants RS256 and any of ES256, PS256, EdDSA'],
    ['SIGNING_ALGORITHMS', 'RS256,RS256', 'wants RS256 and any of ES256, PS256, EdDSA'],
    ['KEY_ANNOUNCE_TIME', '1', 'wants a whole number from 2 to'],
    ['KEY_ANNOUNCE_TIME', '7776000', 'wants less than KEY_ROTATION_INTERVAL'],
    ['VAULT_TRANSIT_MOUNT', '../sys', 'wants a name of letters'],
    ['TOKEN_CACHE_SIZE', '-1', 'wants a whole number from 0 to 1000000'],
    ['AUTHORIZATION_CODE_TTL', '601', 'wants a whole number from 1 to 600'],
    ['ACCESS_TOKEN_TTL', '0', 'wants a whole number from 1 to'],
    ['INTERACTION_TTL', '29', 'wants a whole number from 30 to'],
    ['ARGON2_MEMORY_KIB', '1024', 'wants a whole number from 8192 to'],
    ['SIGN_IN_ATTEMPTS_PER_ACCOUNT', '0', 'wants a whole number from 1 to 1000'],
    ['SWEEP_BATCH', '1e3', 'wants a whole number from 1 to 100000'],
    ['SHUTDOWN_TIMEOUT', '601', 'wants a whole number from 1 to 600'],
    ['ACCESS_TOKEN_MAX_BYTES', '1023', 'wants a whole number from 1024 to 65536'],
    ['OUTBOUND_PRIVATE_RANGES', 'intranet', 'wants addresses or CIDR ranges'],
    ['RESPONSE_TYPES', 'code,token', 'wants code and any of id_token, id_token token, code id_token'],
    ['RESPONSE_TYPES', 'id_token', 'wants code and any of'],
    ['RESPONSE_TYPES', 'code,code id_token,id_token code', 'wants code and any of'],
    ['REQUIRE_PUSHED_REQUESTS', 'perhaps', 'wants true or false'],
    ['PROFILE', 'fapi', 'wants one of oauth2.1, oidc-basic'],
  ])('%s=%s', (name, value, want) => {
    const faults = faultsOf({ [name]: value });
    expect(faults).toEqual([expect.stringMatching(new RegExp(`^${name} ${want.replace(/[.]/g, '\\.')}`))]);
    // Where it may be a secret, it is not repeated.
    if (/KEY/.test(name) && value.length > 1) expect(faults.join()).not.toContain(value);
  });

  test.each([
    ['HOST', '127.0.0.1'],
    ['PORT', '0'],
    ['ISSUER', 'http://localhost:8080'],
    ['ISSUER', 'https://id.example.com:8443'],
    ['KEY_ENCRYPTION_KEY', `${KEY}, ${OTHER_KEY}`],
    ['KEY_ENCRYPTION_KEY', Buffer.alloc(32, 255).toString('base64')],
    ['COOKIE_KEYS', `${KEY},${OTHER_KEY}`],
    ['TRUST_PROXY', '10.0.0.0/8, ::1, fd00::/8, 192.0.2.7'],
  ])('%s=%s is good', (name, value) => {
    expect(faultsOf({ ISSUER: 'http://localhost:3000', [name]: value })).toEqual([]);
  });

  test('an issuer is wanted where the port is any', () => {
    expect(faultsOf({ PORT: '0' })).toEqual(['ISSUER wants a value where PORT is 0']);
  });

  test('all faults are told at once, each setting in one line', () => {
    const faults = faultsOf({ NODE_ENV: 'production', PORT: 'x', ISSUER: 'http://a/b', KEY_ENCRYPTION_KEY: 'y' });
    expect(faults.map((line) => line.split(' ')[0]).sort()).toEqual([
      'DATABASE_URL',
      'ISSUER',
      'KEY_ENCRYPTION_KEY',
      'PORT',
    ]);
  });
});

describe('production', () => {
  test('wants password hashes of at least 19 MiB; elsewhere they may be cheaper', () => {
    expect(faultsOf({ ...production, ARGON2_MEMORY_KIB: '19455' })).toEqual([
      'ARGON2_MEMORY_KIB wants at least 19456 in production: less is for tests',
    ]);
    expect(loadConfig({ ...production, ARGON2_MEMORY_KIB: '19456' }).passwordHash.memoryKib).toBe(19_456);
    expect(loadConfig({ ARGON2_MEMORY_KIB: '8192' }).passwordHash.memoryKib).toBe(8_192);
  });

  test('fetches by https from public addresses alone, unless ranges are named', () => {
    expect(loadConfig(production).outbound).toEqual({ allowsHttp: false, privateRanges: [] });
    const named = { ...production, OUTBOUND_PRIVATE_RANGES: '10.0.0.0/8, fd00::1' };
    expect(loadConfig(named).outbound).toEqual({ allowsHttp: false, privateRanges: ['10.0.0.0/8', 'fd00::1'] });
    expect(loadConfig({}).outbound).toEqual({ allowsHttp: true, privateRanges: ['127.0.0.0/8', '::1/128'] });
  });

  test.each(['ISSUER', 'DATABASE_URL', 'KEY_ENCRYPTION_KEY'])('wants %s', (name) => {
    expect(faultsOf({ ...production, [name]: '' })).toEqual([expect.stringMatching(`^${name} wants`)]);
  });

  test('refuses an http issuer, unless it is allowed in so many words', () => {
    const http = { ...production, ISSUER: 'http://localhost:3000' };
    expect(faultsOf(http)).toEqual([expect.stringMatching(/^ISSUER wants https in production/)]);
    expect(faultsOf({ ...http, ALLOW_HTTP_ISSUER: 'false' })).toHaveLength(1);
    expect(loadConfig({ ...http, ALLOW_HTTP_ISSUER: 'true' }).issuer).toBe('http://localhost:3000');
  });
});

describe('Vault', () => {
  const vault = {
    VAULT_ADDR: 'https://vault.example.com:8200',
    VAULT_TOKEN: 'hvs.token',
    VAULT_TRANSIT_KEY: 'tessera',
  };

  test('wraps in the place of KEY_ENCRYPTION_KEY, in production too', () => {
    const config = loadConfig({ ...production, KEY_ENCRYPTION_KEY: '', ...vault });
    expect(config.vault).toEqual({
      address: 'https://vault.example.com:8200',
      token: 'hvs.token',
      key: 'tessera',
      mount: 'transit',
      namespace: undefined,
      seals: true,
    });
    expect(config.keyEncryptionKeys).toBeUndefined();
  });

  test('may be told to open alone, where something else seals', () => {
    expect(loadConfig({ ...production, ...vault, VAULT_SEALS: 'false' }).vault?.seals).toBe(false);
    expect(faultsOf({ ...production, ...vault, KEY_ENCRYPTION_KEY: '', VAULT_SEALS: 'false' })).toEqual([
      expect.stringMatching(/^VAULT_SEALS wants true/),
    ]);
  });

  test.each(['VAULT_TOKEN', 'VAULT_TRANSIT_KEY'])('wants %s where VAULT_ADDR is set', (name) => {
    expect(faultsOf({ ...vault, [name]: '' })).toEqual([expect.stringMatching(new RegExp(`^${name} wants`))]);
  });

  test.each([
    'vault.example.com',
    'https://user@vault.example.com',
    'https://:hunter2@vault.example.com',
    'https://vault.example.com/?a=b',
  ])('is at a plain URL, not at %s', (address) => {
    expect(faultsOf({ ...vault, VAULT_ADDR: address })).toEqual([
      expect.stringMatching(/^VAULT_ADDR wants the URL of Vault/),
    ]);
  });

  test('is told keys and its token by https alone in production, but on loopback', () => {
    const at = (address: string) => ({ ...production, ...vault, VAULT_ADDR: address });
    for (const address of ['http://vault.example.com:8200', 'http://10.0.0.1:8200', 'http://localhost.example.com']) {
      expect(faultsOf(at(address))).toEqual([expect.stringMatching(/^VAULT_ADDR wants https in production/)]);
      expect(faultsOf({ ...vault, VAULT_ADDR: address })).toEqual([]);
    }
    for (const host of ['localhost', '127.0.0.1', '[::1]']) expect(faultsOf(at(`http://${host}:8200`))).toEqual([]);
  });
});

describe('files', () => {
  let folder: string;
  const write = (name: string, content: string) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'tessera-config-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('every setting may come from a file, whose last line may end', () => {
    const config = loadConfig({
      ...production,
      KEY_ENCRYPTION_KEY: '',
      KEY_ENCRYPTION_KEY_FILE: write('key', `${KEY}\n`),
      PORT_FILE: write('port', '4321\r\n'),
    });
    expect(config.keyEncryptionKeys).toEqual([Buffer.from(KEY, 'base64url')]);
    expect(config.port).toBe(4321);
  });

  test('a setting and its file together are refused, whichever would win', () => {
    expect(faultsOf({ ...production, KEY_ENCRYPTION_KEY_FILE: write('both', OTHER_KEY) })).toEqual([
      'KEY_ENCRYPTION_KEY and KEY_ENCRYPTION_KEY_FILE are both set: keep one',
    ]);
  });

  test('a file that cannot be read is named, and its setting is not told of twice', () => {
    const given = { ...production, KEY_ENCRYPTION_KEY: '', KEY_ENCRYPTION_KEY_FILE: join(folder, 'missing') };
    expect(faultsOf(given)).toEqual(['KEY_ENCRYPTION_KEY_FILE wants a file that can be read']);
  });

  test('a bad value in a file is refused like any other, and an empty file is not taken for a value', () => {
    const given = { ...production, KEY_ENCRYPTION_KEY: '' };
    expect(faultsOf({ ...given, KEY_ENCRYPTION_KEY_FILE: write('bad', 'short') })).toHaveLength(1);
    expect(faultsOf({ ...given, KEY_ENCRYPTION_KEY_FILE: write('empty', '\n') })).toHaveLength(1);
  });
});

test('a configuration is frozen, all the way down', () => {
  const isDeeplyFrozen = (value: unknown): boolean =>
    typeof value !== 'object' ||
    value === null ||
    Buffer.isBuffer(value) ||
    (Object.isFrozen(value) && Object.values(value).every(isDeeplyFrozen));
  expect(isDeeplyFrozen(loadConfig({ ...production, COOKIE_KEYS: KEY, TRUST_PROXY: '10.0.0.0/8' }))).toBe(true);
});

test('a configuration that is printed in whatever way shows no secret', () => {
  const config = loadConfig({ ...production, COOKIE_KEYS: OTHER_KEY });
  const printed = [
    JSON.stringify(config),
    JSON.stringify({ nested: { config } }),
    inspect(config, { depth: 9 }),
    inspect({ nested: config }, { depth: 9, showHidden: true }),
    String(config),
    `${inspect(new Error('x', { cause: config }), { depth: 9 })}`,
  ].join('\n');
  expect(printed).toContain('https://id.example.com');
  for (const secret of ['hunter2', KEY, OTHER_KEY, '7, 7, 7', '07 07 07']) expect(printed).not.toContain(secret);
});
