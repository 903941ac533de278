import type { Knex } from 'knex';
import type { AuditContext } from '../audit/index.ts';
import type { Clock } from '../config/index.ts';
import { announceChange, type ChangeFeed, createChangeCache } from '../database/index.ts';
import { AppError } from '../errors.ts';
import { areSameRoles } from '../roles.ts';
import { lockRegistry, removeIntrospectionClient } from './apis-store.ts';
import { checkChangedClient, checkNewClient, invalid } from './check-client.ts';
import {
  type ClientDraft,
  type ClientPatch,
  type ClientRefusal,
  type MetadataValidator,
  type NewClient,
  type RegisteredClient,
  usesSecret,
} from './client.ts';
import { isClientId } from './client-metadata-schema.ts';
import { generateSecret, matchesAnyDigest, secretDigest } from './client-secret.ts';
import {
  countSelfRegistered,
  findClient,
  holdUnused,
  insertClient,
  listClients,
  markUsed,
  pushSecretDigest,
  removeClient,
  removeSecretDigests,
  replaceClient,
  type StoredClient,
  touchClient,
  unusedClientIds,
} from './clients-store.ts';
import type { ClientAction, ClientChange, RegistryAudit } from './registry-audit.ts';
import { registryRefusal } from './registry-refusal.ts';

type Changed = {
  ok: true;
  client: RegisteredClient;
  /** Only where one was made: it is shown this once. */
  secret?: string;
};

/** Why a client is looked for; it matters to clients that are in no registry (described-clients.ts). */
export type ClientLookUp = {
  /** The address of whoever names it. */
  askedFrom?: string | undefined;
  /** It is looked for because a token was issued to it: only whether it is still there counts. */
  isHolder?: boolean | undefined;
};

/** The registry of clients. `by`: who changes it, where it is not whoever uses these domains. A refusal is returned, with its reason; a database that is away throws. */
export type Clients = Readonly<{
  /** Of several at once with one id, one wins and the others get `conflict`. */
  create(input: NewClient, by?: AuditContext): Promise<Changed | ClientRefusal>;
  /** From memory where possible: at most 750 ms old, and dropped at once by the change feed. */
  find(id: string, lookUp?: ClientLookUp): Promise<RegisteredClient | undefined>;
  /** In the order of their ids; everything after the id `after`, `limit` of them at the most. */
  list(page?: { limit?: number | undefined; after?: string | undefined }): Promise<RegisteredClient[]>;
  /** A client that turns from one without to one with a secret gets one; the other way round, its secrets are gone. */
  update(id: string, patch: ClientPatch, by?: AuditContext): Promise<Changed | ClientRefusal>;
  /** Takes its secrets along, and its right to introspect the tokens of the APIs that named it. */
  delete(
    id: string,
    options?: {
      by?: AuditContext | undefined;
      /** Only where it registered itself and was never used; else `not_found`. */
      isUnused?: boolean | undefined;
    },
  ): Promise<{ ok: true; formerIntrospectionApis: string[] } | ClientRefusal>;
  /** Remembers that one that registered itself is in use. */
  noteUse(id: string): Promise<void>;
  /** The ids of those that registered themselves before that moment and were never used, the oldest first. */
  listUnused(page: { before: Date; limit: number }): Promise<string[]>;
  /** The new secret and the one before it are live; an older one is dead. Rotating twice ends a secret that leaked. */
  rotateSecret(id: string): Promise<{ ok: true; secret: string } | ClientRefusal>;
  /** The same question as `verifySecret`, of the secrets as they are now, for who can't wait for its answer. */
  openSecretCheck(id: string): Promise<(presented: string) => boolean>;
  /** Whether it is one of the client's live secrets; compared as digests, in constant time. */
  verifySecret(id: string, presented: string): Promise<boolean>;
}>;

/** How often a change starts over because another one came between; each attempt of one of them succeeds. */
const MAX_ATTEMPTS = 10;

/**
 * Makes the registry of clients on one database.
 *
 * @param dependencies.audit told of every change within its transaction: what can't be recorded doesn't happen
 * @param dependencies.validator the provider's opinion of metadata that pass our own checks
 */
export function createClients(dependencies: {
  knex: Knex;
  clock: Clock;
  changeFeed: Pick<ChangeFeed, 'subscribe' | 'isCurrent'>;
  audit: RegistryAudit;
  validator: MetadataValidator;
}): Clients {
  const { knex, clock, audit, validator } = dependencies;
  const cache = createChangeCache<StoredClient>({
    lookUp: (id) => findClient(knex, id),
    isTold: dependencies.changeFeed.isCurrent,
    clock,
  });
  dependencies.changeFeed.subscribe('clients', (id) => cache.drop(id));

  async function create(input: NewClient, by?: AuditContext): Promise<Changed | ClientRefusal> {
    const checked = checkNewClient(input);
    if (!checked.ok) return checked;
    const { draft } = checked;
    const refused = (await registryRefusal(knex, draft)) ?? (await validatorRefusal(draft));
    if (refused !== undefined) return refused;
    const { selfRegistered } = input;
    const action = selfRegistered === undefined ? 'created' : 'registered';
    return change({ clientId: draft.metadata.client_id, action, by }, async (trx, alongside) => {
      await lockRegistry(trx, 'shared');
      if (selfRegistered !== undefined && (await countSelfRegistered(trx)) >= selfRegistered.atMost) return tooMany;
      const refusedNow = await registryRefusal(trx, draft);
      if (refusedNow !== undefined) return refusedNow;
      if (!(await insertClient(trx, draft, now(), selfRegistered?.policies))) return conflict(draft.metadata.client_id);
      alongside.push(...rolesSet(draft, []));
      return withSecret(trx, draft, input.secret);
    });
  }

  async function update(id: string, patch: ClientPatch, by?: AuditContext): Promise<Changed | ClientRefusal> {
    if (!isClientId(id)) return notFound(id);
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      const stored = await findClient(knex, id);
      if (stored === undefined) return notFound(id);
      const checked = checkChangedClient(stored.client, patch);
      if (!checked.ok) return checked;
      const { draft } = checked;
      const refused = (await registryRefusal(knex, draft)) ?? (await validatorRefusal(draft));
      if (refused !== undefined) return refused;
      const result = await change({ clientId: id, action: 'updated', by }, async (trx, alongside) => {
        await lockRegistry(trx, 'shared');
        const refusedNow = await registryRefusal(trx, draft);
        if (refusedNow !== undefined) return refusedNow;
        const isReplaced = await replaceClient(trx, draft, { revision: stored.revision, at: now() });
        if (!isReplaced) return { ok: false, code: 'overtaken' } as const;
        alongside.push(...rolesSet(draft, stored.client.roles));
        return withSecret(trx, draft);
      });
      if (result.ok || result.code !== 'overtaken') return result;
    }
    throw new AppError({ code: 'conflict', message: `client ${id} is being changed by others: try again` });
  }

  async function deleteClient(id: string, { by, isUnused = false }: Parameters<Clients['delete']>[1] = {}) {
    if (!isClientId(id)) return notFound(id);
    return change({ clientId: id, action: 'deleted', by }, async (trx) => {
      await lockRegistry(trx, 'exclusive');
      if (isUnused && !(await holdUnused(trx, id))) return notFound(id);
      const formerIntrospectionApis = await removeIntrospectionClient(trx, id);
      if (!(await removeClient(trx, id))) return notFound(id);
      for (const identifier of formerIntrospectionApis) {
        await audit.apiChanged(trx, { action: 'updated', identifier });
        await announceChange(trx, 'apis', identifier);
      }
      return { ok: true, formerIntrospectionApis } as const;
    });
  }

  async function rotateSecret(id: string) {
    if (!isClientId(id)) return notFound(id);
    return change({ clientId: id, action: 'secret_rotated' }, async (trx) => {
      if (!(await touchClient(trx, id, now()))) return notFound(id);
      const stored = await findClient(trx, id);
      if (stored === undefined) return notFound(id);
      const { metadata } = stored.client;
      if (!usesSecret(metadata)) {
        return invalid('token_endpoint_auth_method', `${metadata.token_endpoint_auth_method} uses no secret`);
      }
      const secret = generateSecret();
      await pushSecretDigest(trx, id, secretDigest(secret), now());
      return { ok: true, secret } as const;
    });
  }

  /**
   * One transaction: what `work` does, the audit event with those that it puts `alongside`, and the announcement happen
   * together or not at all.
   */
  async function change<T extends { ok: true } | { ok: false }>(
    { by, ...event }: { clientId: string; action: ClientAction; by?: AuditContext | undefined },
    work: (trx: Knex, alongside: ClientChange[]) => Promise<T>,
  ): Promise<T> {
    const result = await knex.transaction(async (trx) => {
      const alongside: ClientChange[] = [];
      const outcome = await work(trx, alongside);
      if (!outcome.ok) return outcome;
      for (const each of [event, ...alongside]) await audit.clientChanged(trx, each, by);
      await announceChange(trx, 'clients', event.clientId);
      return outcome;
    });
    // The feed will say so too, but whoever changed it reads what they wrote at once.
    cache.drop(event.clientId);
    return result;
  }

  /** Gives the client the secret that its metadata call for, and none that they don't. */
  async function withSecret(trx: Knex, draft: ClientDraft, given?: string): Promise<Changed> {
    const id = draft.metadata.client_id;
    const before = await readBack(trx, id);
    if (!usesSecret(draft.metadata)) {
      if (before.hasSecret) await removeSecretDigests(trx, id);
    } else if (!before.hasSecret) {
      const secret = given ?? generateSecret();
      await pushSecretDigest(trx, id, secretDigest(secret), now());
      return { ok: true, client: await readBack(trx, id), ...(given === undefined ? { secret } : {}) };
    }
    return { ok: true, client: await readBack(trx, id) };
  }

  async function validatorRefusal(draft: ClientDraft): Promise<ClientRefusal | undefined> {
    const verdict = await validator.validate(structuredClone(draft.metadata));
    return verdict.ok ? undefined : { ok: false, code: 'invalid_metadata', reason: verdict.reason };
  }

  const now = () => new Date(clock());
  const lookUp = async (id: string) => (isClientId(id) ? cache.get(id) : undefined);

  async function openSecretCheck(id: string): Promise<(presented: string) => boolean> {
    const digests = (await lookUp(id))?.secretDigests ?? [];
    return (presented) => matchesAnyDigest(presented, digests);
  }

  return Object.freeze({
    create,
    find: async (id: string) => (await lookUp(id))?.client,
    list: async (page = {}) => (await listClients(knex, page)).map(({ client }) => client),
    update,
    delete: deleteClient,
    rotateSecret,
    async noteUse(id: string) {
      const client = (await lookUp(id))?.client;
      if (client?.registration === undefined || client.registration.isUsed) return;
      await knex.transaction(async (trx) => {
        if (await markUsed(trx, id, now())) await announceChange(trx, 'clients', id);
      });
      cache.drop(id);
    },
    listUnused: ({ before, limit }: { before: Date; limit: number }) => unusedClientIds(knex, before, limit),
    openSecretCheck,
    verifySecret: async (id: string, presented: string) => (await openSecretCheck(id))(presented),
  });
}

/** The event that names the roles, where they are others than before. */
function rolesSet({ metadata, roles }: ClientDraft, before: readonly string[]): ClientChange[] {
  return areSameRoles(roles, before) ? [] : [{ action: 'roles_set', clientId: metadata.client_id, roles }];
}

async function readBack(trx: Knex, id: string): Promise<RegisteredClient> {
  const stored = await findClient(trx, id);
  if (stored === undefined) throw new AppError({ code: 'server_error', message: `client ${id} has vanished` });
  return stored.client;
}

const tooMany: ClientRefusal = {
  ok: false,
  code: 'too_many',
  reason: 'no more clients can register themselves at the moment',
};

function conflict(id: string): ClientRefusal {
  return { ok: false, code: 'conflict', field: 'client_id', reason: `client_id: ${id} is taken` };
}

function notFound(id: string): ClientRefusal {
  return { ok: false, code: 'not_found', reason: `no client ${id} is registered` };
}
