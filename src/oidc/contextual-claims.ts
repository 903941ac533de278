import { types } from 'node:util';
import { errors, type KoaContextWithOIDC, type Provider } from 'oidc-provider';
import type { Accounts } from '../accounts/index.ts';
import type { Config } from '../config/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { outcomeOf } from '../telemetry/index.ts';
import type { Callers } from './callers.ts';
import { readDecision } from './claims-decision.ts';
import { failClosed } from './faults.ts';
import { exchangeOf } from './token-exchange-claims.ts';

/** What a deployment's own code is told before a token is issued (docs/contextual-claims.md). Frozen, and JSON throughout. */
type ClaimsContext = Readonly<{
  token: 'access_token' | 'id_token';
  /** Absent where the token comes from the authorization endpoint. */
  grantType?: string;
  client: Readonly<{ id: string; name?: string; origin: 'operator' | 'dynamic' | 'document' }>;
  /** Absent: a service. */
  account?: Readonly<{ id: string; email: string; isEmailVerified: boolean; roles: readonly string[] }>;
  scopes: readonly string[];
  /** The API that an access token is for. */
  resource?: string;
  /** Whoever calls: of an app with a server, that server. */
  network: Readonly<{ address: string }>;
  /** `failedSignIns`: in the window of SIGN_IN_WINDOW, from the network of that address, whoever they were for. */
  risk: Readonly<{ failedSignIns: number }>;
}>;

/**
 * A deployment's own code: adds claims, refuses, or leaves it as it is.
 *
 * @param options.signal ends when nobody waits for the answer any more
 * @returns `{ claims }`, `{ refuse: 'why, for the developer of the client' }` or nothing; anything else is a fault
 */
export type ClaimsHook = (context: ClaimsContext, options: { signal: AbortSignal }) => unknown;

/** Asks a hook about each token that is about to be issued. */
export interface ContextualClaims {
  /**
   * @returns the claims that it adds
   * @throws {errors.AccessDenied} where it refuses, {errors.TemporarilyUnavailable} where it can't be asked and nothing is
   *   issued without it
   */
  claimsFor(context: KoaContextWithOIDC, token: TokenAsked): Promise<Record<string, unknown>>;
}

type TokenAsked = Readonly<{
  kind: ClaimsContext['token'];
  accountId: string | undefined;
  scopes: readonly string[];
  resource?: string | undefined;
}>;

/**
 * @param dependencies.failedSignIns from a network, as `limits/` counts them
 */
export function createContextualClaims(dependencies: {
  hook: ClaimsHook;
  policy: NonNullable<Config['claimsHook']>;
  clients: Pick<Callers, 'find'>;
  accounts: Pick<Accounts, 'find'>;
  failedSignIns(address: string): Promise<number>;
  logger: Pick<Logger, 'warn'>;
}): ContextualClaims {
  const { hook, policy, logger } = dependencies;
  return {
    async claimsFor(context, token) {
      const asked = await failClosed(() => toClaimsContext(context, token, dependencies));
      const decision = await ask(hook, asked, policy.timeoutMs);
      switch (decision.kind) {
        case 'claims':
          return decision.claims;
        case 'refusal':
          outcomeOf(context.req).reason = 'refused by CLAIMS_HOOK';
          throw new errors.AccessDenied(decision.reason);
        case 'fault': {
          const { error } = decision;
          const fields = { err: error, clientId: asked.client.id, requestId: outcomeOf(context.req).requestId };
          if (policy.onFault === 'refuse') {
            outcomeOf(context.req).reason = `CLAIMS_HOOK: ${error.message}`;
            throw unavailable(error);
          }
          logger.warn(fields, 'a token is issued without CLAIMS_HOOK, which failed');
          return {};
        }
      }
    },
  };
}

/**
 * Has the hook asked about ID tokens; access tokens are asked about where their claims are gathered (token-claims.ts).
 */
export function addToIdTokens(provider: Provider, contextual: ContextualClaims): void {
  const { prototype } = provider.IdToken;
  const issue = prototype.issue;
  Object.defineProperty(prototype, 'issue', {
    value: async function issueWithContext(this: AboutToBeIssued, options: Parameters<typeof issue>[0]) {
      if (options.use === 'idtoken' && this.ctx !== undefined) {
        const { scope = '', available, ctx } = this;
        const asked = { kind: 'id_token', accountId: available.sub, scopes: scope.split(' ').filter(Boolean) } as const;
        for (const [name, value] of Object.entries(await contextual.claimsFor(ctx, asked))) this.set(name, value);
      }
      return issue.call(this, options);
    },
  });
}

type AboutToBeIssued = InstanceType<Provider['IdToken']> & {
  ctx?: KoaContextWithOIDC;
  scope?: string;
  available: { sub?: string };
};

async function toClaimsContext(
  context: KoaContextWithOIDC,
  token: TokenAsked,
  {
    clients,
    accounts,
    failedSignIns,
  }: Pick<Parameters<typeof createContextualClaims>[0], 'clients' | 'accounts' | 'failedSignIns'>,
): Promise<ClaimsContext> {
  const { oidc, ip: address } = context;
  const clientId = oidc.client?.clientId ?? '';
  const accountId = exchangeOf(context)?.accountId ?? token.accountId;
  const [client, account, failures] = await Promise.all([
    clients.find(clientId),
    accountId === undefined ? undefined : accounts.find(accountId),
    failedSignIns(address),
  ]);
  const grantType = oidc.params?.grant_type;
  const name = client?.metadata.client_name;
  return deepFreeze({
    token: token.kind,
    ...(typeof grantType === 'string' && { grantType }),
    client: { id: clientId, ...(name !== undefined && { name }), origin: client?.origin ?? 'operator' },
    ...(account && {
      account: {
        id: account.id,
        email: account.email,
        isEmailVerified: account.isEmailVerified,
        roles: [...account.roles],
      },
    }),
    scopes: [...token.scopes],
    ...(token.resource !== undefined && { resource: token.resource }),
    network: { address },
    risk: { failedSignIns: failures },
  });
}

type Asked = ReturnType<typeof readDecision> | { kind: 'fault'; error: Error };

async function ask(hook: ClaimsHook, asked: ClaimsContext, timeoutMs: number): Promise<Asked> {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Asked>((resolve) => {
    timer = setTimeout(() => {
      const error = new Error(`no answer within ${timeoutMs} ms`);
      resolve({ kind: 'fault', error });
      controller.abort(error);
    }, timeoutMs);
  });
  try {
    const answer = (async () => readDecision(await hook(asked, { signal: controller.signal })))();
    return await Promise.race([answer, late]);
  } catch (error) {
    return { kind: 'fault', error: types.isNativeError(error) ? error : new Error('it threw what is no error') };
  } finally {
    clearTimeout(timer);
  }
}

function unavailable(cause: Error): errors.TemporarilyUnavailable {
  const error = new errors.TemporarilyUnavailable('the server can not decide on this at the moment, try again shortly');
  return Object.assign(error, { cause, status: 503, statusCode: 503 });
}

function deepFreeze<T extends object>(value: T): Readonly<T> {
  for (const member of Object.values(value)) if (typeof member === 'object' && member !== null) deepFreeze(member);
  return Object.freeze(value);
}
