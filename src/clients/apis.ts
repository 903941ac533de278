import type { Knex } from 'knex';
import type { Clock } from '../config/index.ts';
import { announceChange, type ChangeFeed } from '../database/index.ts';
import { AppError } from '../errors.ts';
import {
  type Api,
  type ApiDraft,
  type ApiPatch,
  type ApiRefusal,
  checkChangedApi,
  checkNewApi,
  invalidApi,
  isApiIdentifier,
  type NewApi,
} from './api.ts';
import { findApi, insertApi, listApis, lockRegistry, removeApi, replaceApi } from './apis-store.ts';
import { isClientId } from './client-metadata-schema.ts';
import {
  clientsNamingApi,
  clientsWithAnyDetailsType,
  clientsWithAnyScope,
  publicClientIds,
  unknownClientIds,
} from './clients-store.ts';
import type { ApiAction, RegistryAudit } from './registry-audit.ts';

/** What the tokens of an API may be signed with. */
type SigningAlgorithms = Readonly<{
  /** By configuration. */
  offered: readonly Api['signingAlgorithm'][];
  /** Those that there is a key for that signs. In the transaction that asks: another connection may be had by none. */
  signing(trx: Knex): Promise<readonly Api['signingAlgorithm'][]>;
}>;

type Changed = { ok: true; api: Api };
type ApisListener = (apis: readonly Api[]) => void | Promise<void>;

/** The registry of APIs. A refusal is returned, with its reason; a database that is away throws. */
export type Apis = Readonly<{
  /** Of several at once with one identifier, one wins and the others get `conflict`. */
  create(input: NewApi): Promise<Changed | ApiRefusal>;
  /** Asks the database; on a hot path use `all`. */
  find(identifier: string): Promise<Api | undefined>;
  /** Asks the database. In the order of their identifiers. */
  list(): Promise<Api[]>;
  /** Refused while a client would be left with a scope that no API owns: it could not be used any more. */
  update(identifier: string, patch: ApiPatch): Promise<Changed | ApiRefusal>;
  /**
   * Refused while clients name it or its scopes: a client whose last API went would be free to call every other one. And
   * while API keys do: they would be alive again for the next one of that name.
   */
  delete(identifier: string): Promise<{ ok: true } | ApiRefusal>;
  /**
   * Keeps APIs from being deleted to the end of a transaction in which something begins to name them.
   *
   * @returns the first that is not registered
   */
  hold(trx: Knex, identifiers: readonly string[]): Promise<string | undefined>;
  /** Reads the snapshot for the first time; everything that is changed afterwards, on any node, renews it. */
  load(): Promise<void>;
  /** The snapshot: every API, in the order of their identifiers. Frozen; another array after every change. */
  all(): readonly Api[];
  /** Called after the snapshot was renewed by something that differs; one that rejects is called again. */
  onChange(listener: ApisListener): void;
}>;

/**
 * Makes the registry of APIs on one database. It answers from a snapshot once `load` has made one.
 *
 * @param dependencies.audit told of every change within its transaction: what can't be recorded doesn't happen
 * @param dependencies.apiKeysNaming asked within the transaction that deletes an API: the ids of living keys that are for it
 */
export function createApis(dependencies: {
  knex: Knex;
  clock: Clock;
  changeFeed: Pick<ChangeFeed, 'subscribe'>;
  audit: RegistryAudit;
  signingAlgorithms: SigningAlgorithms;
  apiKeysNaming(trx: Knex, identifier: string): Promise<readonly string[]>;
}): Apis {
  const { knex, clock, audit, signingAlgorithms } = dependencies;
  const listeners: ApisListener[] = [];
  let snapshot: readonly Api[] | undefined;
  /** What the listeners were last told, and took. */
  let toldState = '';
  let lastRenewal: Promise<void> = Promise.resolve();
  dependencies.changeFeed.subscribe('apis', () => (snapshot === undefined ? undefined : renew()));

  /** One after the other, so that an older answer never replaces a newer one. */
  function renew(): Promise<void> {
    lastRenewal = lastRenewal.catch(() => undefined).then(readSnapshot);
    return lastRenewal;
  }

  async function readSnapshot(): Promise<void> {
    const apis = Object.freeze(await listApis(knex));
    const state = JSON.stringify(apis);
    const isFirst = snapshot === undefined;
    if (state === toldState && !isFirst) return;
    snapshot = apis;
    if (!isFirst) await Promise.all(listeners.map((listener) => listener(apis)));
    toldState = state;
  }

  async function create(input: NewApi): Promise<Changed | ApiRefusal> {
    const checked = checkNewApi(input);
    if (!checked.ok) return checked;
    const { draft } = checked;
    return change(draft.identifier, 'created', async (trx) => {
      const refused =
        (await introspectionClientsRefusal(trx, draft)) ??
        (await detailsTypesRefusal(trx, draft)) ??
        (await algorithmRefusal(trx, draft));
      if (refused !== undefined) return refused;
      if (!(await insertApi(trx, draft, now()))) return conflict(draft.identifier);
      return { ok: true, api: await readBack(trx, draft.identifier) } as const;
    });
  }

  async function update(identifier: string, patch: ApiPatch): Promise<Changed | ApiRefusal> {
    if (!isApiIdentifier(identifier)) return notFound(identifier);
    return change(identifier, 'updated', async (trx) => {
      const current = await findApi(trx, identifier);
      if (current === undefined) return notFound(identifier);
      const checked = checkChangedApi(current, patch);
      if (!checked.ok) return checked;
      const { draft } = checked;
      const isAsked = patch.signingAlgorithm !== undefined || patch.tokenFormat !== undefined;
      const refused =
        (await introspectionClientsRefusal(trx, draft)) ??
        (await orphanRefusal(trx, draft)) ??
        (await detailsTypesRefusal(trx, draft)) ??
        (isAsked ? await algorithmRefusal(trx, draft) : undefined);
      if (refused !== undefined) return refused;
      await replaceApi(trx, draft, now());
      return { ok: true, api: await readBack(trx, identifier) } as const;
    });
  }

  async function deleteApi(identifier: string): Promise<{ ok: true } | ApiRefusal> {
    if (!isApiIdentifier(identifier)) return notFound(identifier);
    return change(identifier, 'deleted', async (trx) => {
      if ((await findApi(trx, identifier)) === undefined) return notFound(identifier);
      const naming = await clientsNamingApi(trx, identifier);
      if (naming.length > 0) {
        return inUse(`${inWords('client', naming)} registered for ${identifier}: name other APIs there first`);
      }
      const keys = await dependencies.apiKeysNaming(trx, identifier);
      if (keys.length > 0) return inUse(`${inWords('API key', keys)} for ${identifier}: revoke what names it first`);
      const refused =
        (await orphanRefusal(trx, { identifier, scopes: [] })) ??
        (await detailsTypesRefusal(trx, { identifier, detailsTypes: [] }));
      if (refused !== undefined) return refused;
      await removeApi(trx, identifier);
      return { ok: true } as const;
    });
  }

  /** One transaction, alone in the registry: what `work` does, the audit event and the announcement, or nothing. */
  async function change<T extends { ok: true } | { ok: false }>(
    identifier: string,
    action: ApiAction,
    work: (trx: Knex) => Promise<T>,
  ): Promise<T> {
    const result = await knex.transaction(async (trx) => {
      await lockRegistry(trx, 'exclusive');
      const outcome = await work(trx);
      if (!outcome.ok) return outcome;
      await audit.apiChanged(trx, { action, identifier });
      await announceChange(trx, 'apis', identifier);
      return outcome;
    });
    // It has happened: a listener that fails now is called again, and heard, when the feed says so too.
    if (result.ok && snapshot !== undefined) await renew().catch(() => undefined);
    return result;
  }

  /** An API whose tokens nothing can sign could not be used. Where tokens are opaque, it is about what may come. */
  async function algorithmRefusal(
    trx: Knex,
    { signingAlgorithm: wanted, tokenFormat }: ApiDraft,
  ): Promise<ApiRefusal | undefined> {
    const { offered, signing } = signingAlgorithms;
    if (!offered.some((algorithm) => algorithm === wanted)) {
      return invalidApi('signingAlgorithm', `wants one of SIGNING_ALGORITHMS: ${offered.join(' or ')}`);
    }
    if (tokenFormat === 'opaque' || (await signing(trx)).some((algorithm) => algorithm === wanted)) return undefined;
    const mend = `"tessera key rotate --alg ${wanted} --now" lets it sign at once`;
    return invalidApi('signingAlgorithm', `the key of ${wanted} is announced and does not sign yet: ${mend}`);
  }

  const now = () => new Date(clock());

  return Object.freeze({
    create,
    find: async (identifier: string) => (isApiIdentifier(identifier) ? findApi(knex, identifier) : undefined),
    list: () => listApis(knex),
    update,
    delete: deleteApi,
    async hold(trx: Knex, identifiers: readonly string[]) {
      await lockRegistry(trx, 'shared');
      const registered = await listApis(trx);
      return identifiers.find((identifier) => !registered.some((api) => api.identifier === identifier));
    },
    load: renew,
    all() {
      if (snapshot === undefined)
        throw new AppError({ code: 'server_error', message: 'the APIs have not been loaded' });
      return snapshot;
    },
    onChange(listener: ApisListener) {
      listeners.push(listener);
    },
  });
}

async function introspectionClientsRefusal(trx: Knex, draft: ApiDraft): Promise<ApiRefusal | undefined> {
  const ids = draft.introspectionClientIds;
  const unknown = ids.find((id) => !isClientId(id)) ?? (await unknownClientIds(trx, ids))[0];
  if (unknown !== undefined) return invalidApi('introspectionClientIds', `no client ${unknown} is registered`);
  const [anyone] = await publicClientIds(trx, ids);
  if (anyone === undefined) return undefined;
  return invalidApi('introspectionClientIds', `${anyone} does not authenticate: anybody could ask in its name`);
}

/** A client with a scope that nobody owns would be refused as a whole: its metadata would no longer be valid. */
async function orphanRefusal(
  trx: Knex,
  next: Pick<ApiDraft, 'identifier' | 'scopes'>,
): Promise<ApiRefusal | undefined> {
  const apis = await listApis(trx);
  const scopesOf = (owners: readonly Pick<ApiDraft, 'scopes'>[]) =>
    owners.flatMap(({ scopes }) => scopes.map(({ scope }) => scope));
  const staying = new Set(scopesOf([next, ...apis.filter((api) => api.identifier !== next.identifier)]));
  const orphans = scopesOf(apis.filter((api) => api.identifier === next.identifier)).filter(
    (name) => !staying.has(name),
  );
  if (orphans.length === 0) return undefined;
  const clients = await clientsWithAnyScope(trx, orphans);
  if (clients.length === 0) return undefined;
  return inUse(
    `${inWords('client', clients)} registered for scopes that no other API owns (${orphans.join(' ')}): take them away there first`,
  );
}

/** A type names its API, so two can't share one; and none goes while a client is registered for it, as with scopes. */
async function detailsTypesRefusal(
  trx: Knex,
  next: Pick<ApiDraft, 'identifier' | 'detailsTypes'>,
): Promise<ApiRefusal | undefined> {
  const apis = await listApis(trx);
  const staying = next.detailsTypes.map(({ type }) => type);
  for (const { identifier, detailsTypes } of apis) {
    const types = detailsTypes.map(({ type }) => type);
    if (identifier !== next.identifier) {
      const taken = types.find((type) => staying.includes(type));
      if (taken !== undefined) return invalidApi('detailsTypes', `${taken} belongs to ${identifier}`);
      continue;
    }
    const going = types.filter((type) => !staying.includes(type));
    const clients = going.length === 0 ? [] : await clientsWithAnyDetailsType(trx, going);
    if (clients.length > 0) {
      return inUse(`${inWords('client', clients)} registered for ${going.join(' ')}: take it away there first`);
    }
  }
  return undefined;
}

async function readBack(trx: Knex, identifier: string): Promise<Api> {
  const api = await findApi(trx, identifier);
  if (api === undefined) throw new AppError({ code: 'server_error', message: `API ${identifier} has vanished` });
  return api;
}

function inWords(kind: 'client' | 'API key', ids: readonly string[]): string {
  const shown = ids.slice(0, 5).join(', ');
  const more = ids.length > 5 ? ` and ${ids.length - 5} more` : '';
  return ids.length === 1 ? `${kind} ${shown} is` : `${kind}s ${shown}${more} are`;
}

function inUse(reason: string): ApiRefusal {
  return { ok: false, code: 'in_use', reason };
}

function conflict(identifier: string): ApiRefusal {
  return { ok: false, code: 'conflict', field: 'identifier', reason: `identifier: ${identifier} is taken` };
}

function notFound(identifier: string): ApiRefusal {
  return { ok: false, code: 'not_found', reason: `no API ${identifier} is registered` };
}
