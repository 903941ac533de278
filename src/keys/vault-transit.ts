import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { AppError } from '../errors.ts';
import { UnsealError } from './authenticated-encryption.ts';

/** Where a key of Vault's transit engine is, and what may use it. */
export type VaultSettings = Readonly<{
  /** http or https; may have a path. */
  address: string;
  token: string;
  /** Vault Enterprise, OpenBao. */
  namespace: string | undefined;
  mount: string;
  key: string;
}>;

/** One key of the transit engine (developer.hashicorp.com/vault/api-docs/secret/transit). */
export type VaultTransit = Readonly<{
  /** @returns Vault's ciphertext, `vault:v1:…`, with the version of its key @throws {AppError} see {@link createVaultTransit} */
  encrypt(plaintext: Buffer, context: string): Promise<string>;
  /** @throws {UnsealError} when Vault finds the ciphertext altered, or of another context or key */
  decrypt(ciphertext: string, context: string): Promise<Buffer>;
}>;

/** How patient to be; milliseconds. */
type Patience = Readonly<{ timeoutMs: number; pausesMs: readonly number[] }>;

export type VaultPatience = Readonly<{
  /** Of a start and of whoever makes a key. */
  patient: Patience;
  /** Of a running server that opens what is new: it has what it needs for now, and changes of other keys wait behind it. */
  hasty: Patience;
  /** After it was asked hastily and in vain, nothing more is asked for so long; milliseconds. */
  restMs: number;
}>;

/**
 * Vault answers within milliseconds; a start waits for it, so that what is away must be told before a person gives up.
 * A pause before a second and a third attempt: a leader is elected within a second or so. A hasty attempt leaves most of
 * the second within which every node honours a change.
 */
const SERVER_PATIENCE: VaultPatience = {
  patient: { timeoutMs: 3_000, pausesMs: [200, 800] },
  hasty: { timeoutMs: 400, pausesMs: [] },
  restMs: 2_000,
};
/** Nothing waits behind a command but who gave it, and it may open a key more than once. */
export const COMMAND_PATIENCE: VaultPatience = { ...SERVER_PATIENCE, hasty: SERVER_PATIENCE.patient, restMs: 0 };
/** Vault's own words go into messages, cut to a line. */
const MAX_REASON_LENGTH = 200;

/** Too many requests, and "not there yet" of a replica (412), pass by themselves as faults of the server do. */
const isPassing = (status: number) => status === 412 || status === 429 || status >= 500;

/** What decryption is refused with where the ciphertext is at fault, not the configuration; all of it is status 400. */
const CIPHERTEXT_FAULT = /message authentication failed|invalid ciphertext|decode/i;
const MISSING_KEY = /key not found/i;

const answerSchema = z.object({ data: z.record(z.string(), z.unknown()) });
const refusalSchema = z.object({ errors: z.array(z.string()) });

type Operation = 'encrypt' | 'decrypt';
type Answer = Readonly<{ status: number; body: unknown }>;
type Result = Record<string, unknown>;

/**
 * Encrypts and decrypts with a key that never leaves Vault, its use bound to a context (`associated_data`).
 * No message has the token.
 *
 * @throws {AppError} `configuration` where Vault refuses; `temporarily_unavailable` where it gives no answer, is sealed
 * or has a fault of its own: after three attempts, or after one when it has opened something before (commands: always three)
 */
export function createVaultTransit(settings: VaultSettings, patience = SERVER_PATIENCE): VaultTransit {
  const { address, mount, key } = settings;
  const headers = toHeaders(settings);
  const base = `${address.replace(/\/+$/, '')}/v1/${mount}`;

  let hasOpened = false;
  let rest: { untilMs: number; fault: AppError } | undefined;

  async function attempt(operation: string, body: object, timeoutMs: number): Promise<Answer> {
    const response = await fetch(`${base}/${operation}/${key}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
      // The token goes where the operator says and nowhere else.
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await response.text();
    return { status: response.status, body: toJson(text) };
  }

  async function call(operation: Operation, body: object, { timeoutMs, pausesMs }: Patience): Promise<Result> {
    let reason = '';
    for (const pauseMs of [0, ...pausesMs]) {
      await delay(pauseMs);
      try {
        const answer = await attempt(operation, body, timeoutMs);
        if (answer.status === 200) {
          const { success, data } = answerSchema.safeParse(answer.body);
          if (success) return data.data;
          throw notVault(address);
        }
        reason = reasonIn(answer);
        if (!isPassing(answer.status)) throw refusal(settings, operation, answer.status, reason);
      } catch (error) {
        if (error instanceof AppError || error instanceof UnsealError) throw error;
        reason = networkReason(error);
      }
    }
    throw new AppError({
      code: 'temporarily_unavailable',
      message: `Vault at ${address} does not ${operation} (${reason}): keys can't be sealed or opened until it does; nothing was changed`,
    });
  }

  async function open(body: object): Promise<Result> {
    if (!hasOpened) return call('decrypt', body, patience.patient);
    if (rest !== undefined && performance.now() < rest.untilMs) throw rest.fault;
    try {
      return await call('decrypt', body, patience.hasty);
    } catch (fault) {
      if (fault instanceof AppError && fault.code === 'temporarily_unavailable')
        rest = { untilMs: performance.now() + patience.restMs, fault };
      throw fault;
    }
  }

  return Object.freeze({
    async encrypt(plaintext: Buffer, context: string) {
      const body = { plaintext: plaintext.toString('base64'), associated_data: toBase64(context) };
      const { ciphertext } = await call('encrypt', body, patience.patient);
      if (typeof ciphertext !== 'string' || !/^vault:v\d+:/.test(ciphertext)) throw notVault(address);
      return ciphertext;
    },
    async decrypt(ciphertext: string, context: string) {
      const { plaintext } = await open({ ciphertext, associated_data: toBase64(context) });
      if (typeof plaintext !== 'string') throw notVault(address);
      hasOpened = true;
      return Buffer.from(plaintext, 'base64');
    },
  });
}

function toHeaders({ token, namespace }: VaultSettings): Headers {
  try {
    return new Headers({
      'content-type': 'application/json',
      'x-vault-token': token,
      // A Vault agent may insist on it: a browser that was lured to the address can't send it.
      'x-vault-request': 'true',
      ...(namespace === undefined ? undefined : { 'x-vault-namespace': namespace }),
    });
  } catch {
    // The cause would show the token.
    throw fault('VAULT_TOKEN and VAULT_NAMESPACE want printable ASCII characters alone');
  }
}

function refusal(
  { address, mount, key }: VaultSettings,
  operation: string,
  status: number,
  reason: string,
): AppError | UnsealError {
  const unchanged = 'nothing was changed';
  if (status >= 300 && status < 400) {
    return fault(`VAULT_ADDR wants the address of Vault's active node or of a load balancer: ${address} redirects`);
  }
  if (status === 403) {
    return fault(`VAULT_TOKEN may not ${operation} with ${mount}/${key}, or has expired (${reason}); ${unchanged}`);
  }
  if (status === 404) {
    return fault(
      `VAULT_TRANSIT_MOUNT: Vault at ${address} has no transit engine at ${mount} (${reason}); ${unchanged}`,
    );
  }
  if (operation === 'decrypt' && status === 400 && CIPHERTEXT_FAULT.test(reason)) {
    return new UnsealError(
      `a key that Vault has wrapped was altered, or belongs to another key or context (${reason})`,
    );
  }
  if (MISSING_KEY.test(reason)) {
    return fault(`VAULT_TRANSIT_KEY: Vault has no key ${key} at ${mount}: was it deleted? (${reason}); ${unchanged}`);
  }
  return fault(
    `VAULT_TRANSIT_KEY: Vault refuses to ${operation} with ${mount}/${key} (${status}, ${reason}); ${unchanged}`,
  );
}

function notVault(address: string): AppError {
  return fault(`VAULT_ADDR wants the URL of Vault: ${address} does not answer as Vault does`);
}

function fault(message: string): AppError {
  return new AppError({ code: 'configuration', message });
}

function reasonIn({ status, body }: Answer): string {
  const { data } = refusalSchema.safeParse(body);
  const words = data?.errors.join(', ').replace(/\s+/g, ' ').trim();
  return words ? words.slice(0, MAX_REASON_LENGTH) : `status ${status}`;
}

/** `fetch failed` says nothing; the code of its cause does, such as ECONNREFUSED. */
function networkReason(error: unknown): string {
  if (!(error instanceof Error)) return 'no answer';
  if (error.name === 'TimeoutError') return 'no answer in time';
  const { cause } = error;
  return cause instanceof Error && 'code' in cause ? String(cause.code) : 'no answer';
}

function toJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function toBase64(text: string): string {
  return Buffer.from(text).toString('base64');
}
