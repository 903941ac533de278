import { randomBytes } from 'node:crypto';
import { decodeJwt } from 'jose';
import { type Configuration, errors, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import { type AuditContext, auditContextOf } from '../audit/index.ts';
import {
  type Apis,
  type Clients,
  prepareSelfRegistration,
  type RegisteredClient,
  type RegistrationTokens,
  type SelfRegistration,
  type SoftwareStatements,
  toNewClient,
  toReplacement,
  usesSecret,
} from '../clients/index.ts';
import type { Config } from '../config/index.ts';
import type { RegistrationLimits } from '../limits/index.ts';
import { epochSeconds } from './epoch-seconds.ts';
import { failClosed } from './faults.ts';
import { ALLOWED_ORIGINS, SECRET_PLACEHOLDER, toProviderMetadata } from './provider-client.ts';

/** What decides about clients that register themselves. */
export type RegistrationDependencies = Readonly<{
  config: Pick<Config, 'profile' | 'registration'>;
  clients: Pick<Clients, 'create' | 'find' | 'update' | 'noteUse' | 'openSecretCheck'>;
  apis: Pick<Apis, 'all'>;
  tokens: Pick<RegistrationTokens, 'find' | 'take' | 'giveBack'>;
  statements: SoftwareStatements;
  limits: RegistrationLimits;
  /** Ends everything that the client has with it. */
  deleteClient(id: string, by: AuditContext): Promise<void>;
}>;

/** The part of dynamic client registration (RFC 7591, RFC 7592) that the library asks for; all of it hangs on the request at hand. */
export type Registration = Readonly<{
  features: Pick<NonNullable<Configuration['features']>, 'registration' | 'registrationManagement'>;
  /** Replaces what a client says of itself by what may be registered of it. @throws what refuses it */
  prepare(context: KoaContextWithOIDC, metadata: Record<string, unknown>): void;
  /** Keeps a client that is being registered, or what it has become. @throws what refuses it */
  save(id: string): Promise<void>;
  remove(id: string): Promise<void>;
  /** Lets a client be managed by whoever registered it, and no other; its secret is compared as everywhere. */
  manageClients(provider: Provider): void;
  /** Writes the answer: what was registered, with the secret where one was made for it. */
  present(context: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void>;
  /** Remembers of a client that somebody used it, or it would be removed some day. */
  noteUse(context: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void>;
}>;

type Statement = NonNullable<SelfRegistration['statement']>;
type Prepared = Extract<ReturnType<typeof prepareSelfRegistration>, { ok: true }>;

/** What is known of a request at the registration endpoint, in the order in which it becomes known. */
type Admission = {
  policies: readonly string[];
  statement: Statement | undefined;
  tokenId?: string | undefined;
  /** Of the client that is there already. */
  current?: RegisteredClient | undefined;
  prepared?: Prepared;
  saved?: { client: RegisteredClient; secret?: string | undefined };
};

/** The member that stands for all in the library's look at members of ours. */
export const SOFTWARE_STATEMENT = 'software_statement';

const MANAGEMENT_ROUTES: ReadonlySet<string> = new Set(['client', 'client_update', 'client_delete']);
const ANSWERING_ROUTES: ReadonlySet<string> = new Set(['registration', 'client', 'client_update']);
/** Where a person or a token shows that a client is in use. */
const USE_ROUTES: ReadonlySet<string> = new Set(['authorization', 'resume', 'token']);
/** Given by the library or by the server, and no part of what is registered. */
const SERVER_MEMBERS: ReadonlySet<string> = new Set(['client_id', 'client_id_issued_at']);
const ID_BYTES = 16;

/** Not now: too many from one address (RFC 6585, section 4), or too many at all. */
class TooManyRegistrations extends errors.OIDCProviderError {
  constructor(status: 429 | 503, reason: string) {
    super(status, 'temporarily_unavailable');
    this.expose = true;
    this.error_description = reason;
  }
}

export function createRegistration(dependencies: RegistrationDependencies): Registration {
  const { config, clients, apis, tokens, statements, limits } = dependencies;
  const { mode, maxClients } = config.registration;
  const admissions = new WeakMap<object, Admission>();

  /** Who may register, and as what: looked at once, before anything of the request counts. */
  async function admit(context: KoaContextWithOIDC): Promise<boolean> {
    await takeAttempt(context);
    const token = await tokenOf(context);
    const { software_statement: given } = bodyOf(context);
    admissions.set(context, {
      policies: token?.policies ?? [],
      tokenId: token?.id,
      statement: given === undefined || given === null ? undefined : await verified(given),
    });
    return true;
  }

  async function takeAttempt(context: KoaContextWithOIDC): Promise<void> {
    const decision = await failClosed(() => limits.take(context.ip));
    if (decision.isAllowed) return;
    context.set('Retry-After', String(decision.retryAfterSeconds));
    throw new TooManyRegistrations(429, 'too many registrations come from this address, try again later');
  }

  /** The library has looked where one is needed; where none is, one may be brought along for what it allows. */
  async function tokenOf(context: KoaContextWithOIDC) {
    if (mode === 'open' && context.get('authorization') === '') return undefined;
    const token = await failClosed(() => tokens.find(context.oidc.getAccessToken()));
    if (token === undefined) throw new errors.InvalidToken('initial access token not found');
    return token;
  }

  async function verified(given: unknown): Promise<Statement> {
    if (typeof given !== 'string')
      throw statementRefusal('invalid_software_statement', 'software_statement wants a text');
    const verdict = await statements.verify(given);
    if (!verdict.ok) throw statementRefusal(verdict.code, verdict.reason);
    return { value: given, claims: verdict.claims };
  }

  function prepare(context: KoaContextWithOIDC, metadata: Record<string, unknown>): void {
    const admission = admissions.get(context);
    if (admission === undefined) throw new errors.InvalidRequest('this is no registration');
    const given = bodyOf(context);
    const { current, statement } = admission;
    if (current !== undefined && (given.software_statement ?? statement?.value) !== statement?.value) {
      throw statementRefusal('invalid_software_statement', 'software_statement can not be changed: register anew');
    }
    const prepared = prepareSelfRegistration({
      id: String(metadata.client_id),
      given,
      statement,
      policies: admission.policies,
      apis: apis.all(),
      profile: config.profile,
    });
    if (!prepared.ok) throw new errors.InvalidClientMetadata(prepared.reason);
    admission.prepared = prepared;
    for (const name of Object.keys(metadata)) if (!SERVER_MEMBERS.has(name)) delete metadata[name];
    const { metadata: registered, allowedOrigins } = prepared;
    Object.assign(metadata, toProviderMetadata({ metadata: registered, allowedOrigins }));
  }

  async function save(id: string): Promise<void> {
    const context = Provider.ctx;
    const admission = context && admissions.get(context);
    if (context === undefined || admission?.prepared?.metadata.client_id !== id) {
      throw new Error('clients are changed through the registry');
    }
    const { prepared, current, tokenId } = admission;
    const by = auditContext(context, id);
    if (current !== undefined) {
      await takeAttempt(context);
      return keep(admission, await failClosed(() => clients.update(id, toReplacement(prepared), by)));
    }
    if (tokenId !== undefined && !(await failClosed(() => tokens.take(tokenId)))) {
      throw new errors.InvalidToken('initial access token is used up');
    }
    const { policies } = admission;
    const created = await failClosed(() => clients.create(toNewClient(prepared, { policies, atMost: maxClients }), by));
    if (!created.ok && tokenId !== undefined) await failClosed(() => tokens.giveBack(tokenId));
    keep(admission, created);
  }

  function manageClients(provider: Provider): void {
    const find = provider.Client.find.bind(provider.Client);
    const make = provider.Client as unknown as new (metadata: object) => InstanceType<Provider['Client']>;
    const findManaged: typeof find = async (id) => {
      const context = Provider.ctx;
      if (context === undefined || !MANAGEMENT_ROUTES.has(context.oidc?.route ?? '')) return find(id);
      const registered = await failClosed(() => clients.find(id));
      // An id may have come to somebody whom an operator registered: an old token must not manage that.
      if (registered?.registration === undefined) return undefined;
      const { policies } = registered.registration;
      admissions.set(context, { policies, statement: statementOf(registered), current: registered });
      if (context.oidc.route !== 'client_update') return find(id);
      return withComparedSecret(context, new make(toProviderMetadata(registered)), registered);
    };
    Object.defineProperty(provider.Client, 'find', { value: findManaged });
  }

  /** The library compares the secret that a client sends along with the one it knows, which is the placeholder: so it is told the very one, where that is right. */
  async function withComparedSecret<T extends object>(
    context: KoaContextWithOIDC,
    client: T,
    registered: RegisteredClient,
  ): Promise<T> {
    if (!usesSecret(registered.metadata)) return client;
    const isSecret = await failClosed(() => clients.openSecretCheck(registered.id));
    return Object.defineProperty(client, 'clientSecret', {
      configurable: true,
      enumerable: true,
      get() {
        const { client_secret: sent } = bodyOf(context);
        return typeof sent === 'string' && isSecret(sent) ? sent : SECRET_PLACEHOLDER;
      },
    });
  }

  return Object.freeze<Registration>({
    features: {
      registration: {
        enabled: true,
        initialAccessToken: mode === 'token',
        idFactory: () => `dyn-${randomBytes(ID_BYTES).toString('base64url')}`,
        // The registry makes the one that counts.
        secretFactory: () => SECRET_PLACEHOLDER,
        issueRegistrationAccessToken: admit,
      },
      registrationManagement: { enabled: true, rotateRegistrationAccessToken: true },
    },
    prepare,
    save,
    async remove(id) {
      const context = Provider.ctx;
      if (context === undefined || admissions.get(context)?.current?.id !== id) {
        throw new Error('clients are changed through the registry');
      }
      await failClosed(() => dependencies.deleteClient(id, auditContext(context, id)));
    },
    manageClients,
    async present(context, next) {
      await next();
      if (!ANSWERING_ROUTES.has(context.oidc?.route ?? '') || context.status >= 300) return;
      const admission = admissions.get(context);
      const registered = admission?.saved?.client ?? admission?.current;
      if (registered === undefined) return;
      const {
        client_secret: _,
        client_secret_expires_at: __,
        [ALLOWED_ORIGINS]: ___,
        ...answer
      } = context.body as object & Record<string, unknown>;
      const secret = admission?.saved?.secret;
      context.body = {
        ...answer,
        client_id_issued_at: epochSeconds(registered.createdAt),
        ...(secret === undefined ? undefined : { client_secret: secret, client_secret_expires_at: 0 }),
      };
    },
    async noteUse(context, next) {
      await next();
      const { route, client, account } = context.oidc ?? {};
      if (client === undefined || !USE_ROUTES.has(route ?? '')) return;
      const isUsed = route === 'token' ? context.status === 200 : account !== undefined;
      // The answer stands: the next one will be remembered.
      if (isUsed) await clients.noteUse(client.clientId).catch(() => undefined);
    },
  });
}

function keep(admission: Admission, outcome: Awaited<ReturnType<Clients['create']>>): void {
  if (outcome.ok) admission.saved = outcome;
  else if (outcome.code === 'too_many') throw new TooManyRegistrations(503, outcome.reason);
  // It was deleted since, by an operator.
  else if (outcome.code === 'not_found') throw new errors.InvalidToken('client not found');
  else throw new errors.InvalidClientMetadata(outcome.reason);
}

/** What was verified when the client registered keeps what it says, whatever the client says later. */
function statementOf({ metadata }: RegisteredClient): Statement | undefined {
  const { software_statement: value } = metadata;
  return value === undefined ? undefined : { value, claims: decodeJwt(value) };
}

function statementRefusal(code: string, reason: string): errors.CustomOIDCProviderError {
  return new errors.CustomOIDCProviderError(code, reason);
}

function bodyOf(context: KoaContextWithOIDC): Record<string, unknown> {
  return (context.oidc.body ?? {}) as Record<string, unknown>;
}

function auditContext(context: KoaContextWithOIDC, id: string): AuditContext {
  return { ...auditContextOf(context), actor: { kind: 'client', id } };
}
