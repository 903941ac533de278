import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/**
 * The part of Vault's HTTP API that the transit engine is used by, as it is documented
 * (developer.hashicorp.com/vault/api-docs/secret/transit) and as OpenBao 2.7.2 answers: it refuses what Vault refuses, in
 * its words. The suite that uses it runs against a real one, too (vault.ts).
 */
export type VaultStandIn = {
  address: string;
  rootToken: string;
  /** Every use of the transit engine, in order; the token is in the headers. */
  requests: { path: string; headers: IncomingHttpHeaders; body: string }[];
  setSealed(isSealed: boolean): void;
  /** What the next uses of the transit engine are answered with, one after the other; `silence` is no answer at all. */
  fail(...statuses: (number | 'silence')[]): void;
  /** From now on every use is sent elsewhere. */
  redirectTo(address: string): void;
  close(): Promise<void>;
};

type Key = { type: string; versions: Buffer[]; deletionAllowed: boolean };
type Reply = { status: number; body?: object; headers?: Record<string, string> };

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export async function openVaultStandIn(): Promise<VaultStandIn> {
  const rootToken = `root-${randomBytes(12).toString('hex')}`;
  const mounts = new Set<string>();
  const keys = new Map<string, Key>();
  /** By name: paths with what may be done there. */
  const policies = new Map<string, Map<string, string[]>>();
  const tokens = new Map<string, string[]>();
  const requests: VaultStandIn['requests'] = [];
  let isSealed = false;
  let failures: (number | 'silence')[] = [];
  let elsewhere: string | undefined;

  const refuse = (status: number, ...errors: string[]): Reply => ({ status, body: { errors } });
  const answer = (data: object): Reply => ({ status: 200, body: { request_id: 'a-request', data } });

  function may(token: string, path: string, capability: string): boolean {
    if (token === rootToken) return true;
    return (tokens.get(token) ?? []).some((name) => policies.get(name)?.get(path)?.includes(capability));
  }

  function encrypt(name: string, input: Record<string, unknown>): Reply {
    const key = keys.get(name);
    const plaintext = base64(input.plaintext);
    if (plaintext === undefined) return refuse(400, 'failed to base64-decode plaintext');
    if (key === undefined) return refuse(400, 'encryption key not found');
    const data = associatedData(key, input);
    if ('refusal' in data) return refuse(400, data.refusal);
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', key.versions.at(-1) ?? '', nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(data.bytes);
    const encrypted = Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
    const version = key.versions.length;
    return answer({ ciphertext: `vault:v${version}:${encrypted.toString('base64')}`, key_version: version });
  }

  function decrypt(name: string, input: Record<string, unknown>): Reply {
    const key = keys.get(name);
    if (key === undefined) return refuse(400, 'encryption key not found');
    const match = /^vault:v(\d+):(.*)$/.exec(String(input.ciphertext));
    if (match === null) return refuse(400, 'invalid ciphertext: no prefix');
    const version = key.versions[Number(match[1]) - 1];
    if (version === undefined) return refuse(400, 'invalid ciphertext: version is too new');
    const data = associatedData(key, input);
    if ('refusal' in data) return refuse(400, data.refusal);
    const encrypted = base64(match[2]);
    if (encrypted === undefined) return refuse(400, 'invalid ciphertext: could not decode base64');
    if (encrypted.length < NONCE_BYTES + TAG_BYTES) return refuse(400, 'invalid ciphertext length');
    const decipher = createDecipheriv('aes-256-gcm', version, encrypted.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(data.bytes);
    decipher.setAuthTag(encrypted.subarray(-TAG_BYTES));
    try {
      const plaintext = Buffer.concat([decipher.update(encrypted.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
      return answer({ plaintext: plaintext.toString('base64') });
    } catch {
      return refuse(400, 'cipher: message authentication failed');
    }
  }

  function administer(method: string, path: string, input: Record<string, unknown>): Reply {
    const [mount = '', area, name = '', action] = path.split('/');
    if (method === 'POST' && path.startsWith('sys/mounts/')) {
      const wanted = path.slice('sys/mounts/'.length);
      if (mounts.has(wanted)) return refuse(400, `path is already in use at ${wanted}/`);
      mounts.add(wanted);
      return { status: 204 };
    }
    if (method === 'PUT' && path.startsWith('sys/policies/acl/')) {
      const rules = [...String(input.policy).matchAll(/path "([^"]+)" \{ capabilities = (\[[^\]]*\]) \}/g)];
      const parsed = rules.map(([, where = '', what = '[]']) => [where, JSON.parse(what) as string[]] as const);
      policies.set(path.slice('sys/policies/acl/'.length), new Map(parsed));
      return { status: 204 };
    }
    if (method === 'POST' && path === 'auth/token/create') {
      const token = `hvs.${randomBytes(24).toString('base64url')}`;
      tokens.set(token, input.policies as string[]);
      return { status: 200, body: { auth: { client_token: token } } };
    }
    if (method === 'POST' && path === 'auth/token/revoke') {
      tokens.delete(String(input.token));
      return { status: 204 };
    }
    if (!mounts.has(mount) || area !== 'keys')
      return refuse(404, `no handler for route "${path}". route entry not found.`);
    if (method === 'POST' && action === undefined) {
      keys.set(name, { type: String(input.type), versions: [randomBytes(32)], deletionAllowed: false });
      return answer({ name });
    }
    const key = keys.get(name);
    if (key === undefined) return refuse(404);
    if (method === 'POST' && action === 'rotate') key.versions.push(randomBytes(32));
    else if (method === 'POST' && action === 'config') key.deletionAllowed = input.deletion_allowed === true;
    else if (method === 'DELETE' && key.deletionAllowed) keys.delete(name);
    else return refuse(405, 'unsupported operation');
    return { status: 204 };
  }

  function useTransit(method: string, path: string, token: string, input: Record<string, unknown>): Reply {
    const [mount = '', operation, name = ''] = path.split('/');
    // Vault tells an encryption with a key that is not there to make it: another thing to be allowed.
    const capability = operation === 'encrypt' && !keys.has(name) ? 'create' : 'update';
    if (!may(token, path, capability)) return refuse(403, 'permission denied');
    if (!mounts.has(mount)) return refuse(404, `no handler for route "${path}". route entry not found.`);
    if (method !== 'POST' && method !== 'PUT') return refuse(405, 'unsupported operation');
    return operation === 'encrypt' ? encrypt(name, input) : decrypt(name, input);
  }

  const server = createServer((request, response) => {
    void (async () => {
      const body = await text(request);
      const method = request.method ?? '';
      const path = (request.url ?? '').replace(/^\/v1\//, '');
      const token = String(request.headers['x-vault-token'] ?? '');
      const isUse = /^[^/]+\/(encrypt|decrypt)\//.test(path);
      let reply: Reply;
      if (isUse) requests.push({ path, headers: request.headers, body });
      const failure = isUse ? failures.shift() : undefined;
      if (failure === 'silence') return;
      if (failure !== undefined) reply = refuse(failure, 'internal error');
      else if (isUse && elsewhere !== undefined)
        reply = { status: 307, headers: { location: `${elsewhere}/v1/${path}` } };
      else if (isSealed) reply = refuse(503, 'Vault is sealed');
      else if (!request.url?.startsWith('/v1/')) reply = refuse(404);
      else if (isUse) reply = useTransit(method, path, token, toObject(body));
      else reply = token === rootToken ? administer(method, path, toObject(body)) : refuse(403, 'permission denied');
      response.writeHead(reply.status, { 'content-type': 'application/json', ...reply.headers });
      response.end(reply.body === undefined ? '' : JSON.stringify(reply.body));
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    rootToken,
    requests,
    setSealed(value) {
      isSealed = value;
    },
    fail(...statuses) {
      failures = statuses;
    },
    redirectTo(address) {
      elsewhere = address;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Only ciphers that authenticate take associated data. */
function associatedData(key: Key, input: Record<string, unknown>): { bytes: Buffer } | { refusal: string } {
  if (input.associated_data === undefined) return { bytes: Buffer.alloc(0) };
  if (!['aes128-gcm96', 'aes256-gcm96', 'chacha20-poly1305'].includes(key.type)) {
    return { refusal: `'[0].associated_data' provided for non-AEAD cipher suite ${key.type}` };
  }
  const bytes = base64(input.associated_data);
  return bytes === undefined ? { refusal: 'failed to base64-decode associated_data' } : { bytes };
}

/** Standard base64 with its padding, as Go decodes it; not base64url. */
function base64(value: unknown): Buffer | undefined {
  if (typeof value !== 'string') return undefined;
  const bytes = Buffer.from(value, 'base64');
  return bytes.toString('base64') === value ? bytes : undefined;
}

function toObject(body: string): Record<string, unknown> {
  return body === '' ? {} : (JSON.parse(body) as Record<string, unknown>);
}
