import { errors, type KoaContextWithOIDC, type TokenEndpointGrantContext } from 'oidc-provider';
import { type Apis, type RegisteredClient, TOKEN_EXCHANGE } from '../clients/index.ts';
import { noteUse } from './api-key-grant.ts';
import { failClosed } from './faults.ts';
import type { GrantProvider } from './grant-handlers.ts';
import type { IntrospectedToken } from './policies.ts';
import { scopesCallable } from './resources.ts';
import type { PresentedKeyReader } from './token-exchange-api-key.ts';
import { type Exchange, noteExchange } from './token-exchange-claims.ts';
import type { TokenLink } from './token-exchange-links.ts';
import {
  ACCESS_TOKEN_TYPE,
  EXCHANGE_PARAMETERS,
  type ExchangeRequest,
  type Presented,
  REPEATABLE_PARAMETERS,
  readExchangeRequest,
} from './token-exchange-request.ts';
import type { ActClaim, PresentedToken, PresentedTokenReader } from './token-exchange-tokens.ts';

/** Longer chains of services that act for one another are a loop, or soon a token too large to send. */
const MAX_ACTORS = 5;
/** A token is looked up by as many statements as it has links; each exchange adds one, and one for an actor. */
const MAX_LINKS = 10;

export type TokenExchange = Readonly<{
  clients: { find(id: string): Promise<RegisteredClient | undefined> };
  apis: Apis;
  read: PresentedTokenReader;
  readKey: PresentedKeyReader;
  mayIntrospect(callerId: string, token: IntrospectedToken): Promise<boolean>;
}>;

/**
 * Adds the grant of RFC 8693: a client that got somebody's token asks for one of its own, to call another API for them. It
 * decides what the new token says, for how long and with which scopes; everything else about the request, proofs of
 * possession too, is checked by the library's handler of client credentials, which issues it.
 */
export function registerTokenExchange(provider: GrantProvider, exchange: TokenExchange): void {
  const issue = provider.builtInHandler('client_credentials');
  provider.registerGrantType(
    TOKEN_EXCHANGE,
    async (context) => {
      const request = readExchangeRequest(context.oidc.params);
      const client = await callerOf(context, exchange);
      const subject = await readSubject(context, request.subject, client, exchange);
      const actor = request.actor && (await readActor(context, request.actor, client, exchange));
      const scopes = narrow(context, request, { client, subject, apis: exchange.apis });
      noteExchange(context, decide(client, subject, actor, scopes));
      if (subject.spend) noteUse(context, subject.spend);
      await issue(context);
      context.body = { ...(context.body as object), issued_token_type: ACCESS_TOKEN_TYPE };
    },
    EXCHANGE_PARAMETERS,
    REPEATABLE_PARAMETERS,
  );
}

async function callerOf({ oidc }: TokenEndpointGrantContext, { clients }: TokenExchange): Promise<RegisteredClient> {
  const client = await failClosed(() => clients.find(oidc.client.clientId));
  // It was deleted since it has authenticated.
  if (client === undefined) throw new errors.InvalidClientAuth('client not found');
  return client;
}

/** Who may introspect a token may exchange it: to anybody else the answer tells no more of it than introspection would. */
async function readSubject(
  context: KoaContextWithOIDC,
  presented: Presented,
  client: RegisteredClient,
  { read, readKey, mayIntrospect }: TokenExchange,
): Promise<PresentedToken> {
  if (presented.kind === 'api_key') {
    const key = await readKey(context, presented.value, client.id);
    if (key !== undefined) return key;
  } else {
    const subject = await read(context, presented);
    if (subject !== undefined && (await mayIntrospect(client.id, toKnow(subject)))) return subject;
  }
  throw new errors.InvalidRequest('subject_token is invalid');
}

function toKnow({ scopes, ...token }: PresentedToken): IntrospectedToken {
  return { ...token, scope: scopes.length === 0 ? undefined : scopes.join(' ') };
}

/** The caller's own token says who acts: the service itself, or a person who uses it. */
async function readActor(
  context: KoaContextWithOIDC,
  presented: Presented,
  client: RegisteredClient,
  { read, mayIntrospect }: TokenExchange,
): Promise<PresentedToken> {
  const actor = await read(context, presented);
  const isOwn = actor?.clientId === client.id && (await mayIntrospect(client.id, toKnow(actor)));
  // Who acts by a token that came of an exchange acts for somebody else already.
  if (actor === undefined || !isOwn || actor.links.length > 1)
    throw new errors.InvalidRequest('actor_token is invalid');
  return actor;
}

/** What the new token says of who acts for whom, and what it hangs on. */
function decide(
  client: RegisteredClient,
  subject: PresentedToken,
  actor: PresentedToken | undefined,
  scopes: readonly string[],
): Exchange {
  const modes = client.metadata.token_exchange_modes ?? ['delegation'];
  const mode = actor === undefined && modes.includes('impersonation') ? 'impersonation' : 'delegation';
  if (!modes.includes(mode)) {
    throw new errors.InvalidRequest('this client is registered for impersonation alone: leave out actor_token');
  }
  // Who acted before stays, or a token that was delegated would come to look like the person's own.
  const act: ActClaim | undefined =
    mode === 'impersonation' ? subject.act : { sub: actor?.sub ?? client.id, ...(subject.act && { act: subject.act }) };
  const [own, ...earlier] = subject.links;
  // What comes of a key itself stays within it; of a token, the token has to.
  const link = subject.spend === undefined ? own : { ...own, scope: scopes.join(' ') };
  const links: Exchange['links'] = [link, ...earlier, ...linksOfActor(actor)];
  if (actorsIn(act) > MAX_ACTORS || links.length > MAX_LINKS) {
    throw new errors.InvalidRequest('subject_token was exchanged too many times');
  }
  const { sub, accountId, expiresAt, isBound = false } = subject;
  return { mode, sub, accountId, act, links, isBound, expiresAt };
}

/** A person who acts must not go on when signed out. The token itself has shown who acts, and may expire. */
function linksOfActor(actor: PresentedToken | undefined): TokenLink[] {
  const [link] = actor?.links ?? [];
  if (link?.grant_id === undefined) return [];
  const { client_id, grant_id, session_uid } = link;
  return [{ client_id, grant_id, ...(session_uid === undefined ? undefined : { session_uid }) }];
}

function actorsIn(act: ActClaim | undefined): number {
  return act === undefined ? 0 : 1 + actorsIn(act.act);
}

/**
 * Puts into the request what the token may be for: never more than both the subject's token and the client have. The
 * library's handler takes it from there.
 *
 * @returns the scopes
 */
function narrow(
  { oidc: { params } }: TokenEndpointGrantContext,
  { resource, scopes: asked }: ExchangeRequest,
  { client, subject, apis }: { client: RegisteredClient; subject: PresentedToken; apis: Apis },
): readonly string[] {
  const excess = asked?.find((scope) => !subject.scopes.includes(scope));
  if (excess !== undefined) throw new errors.InvalidScope('requested scope exceeds that of subject_token', excess);
  const callable = scopesCallable(client, apis, resource);
  const scopes = asked ?? subject.scopes.filter((scope) => callable.includes(scope));
  if (scopes.length === 0) {
    const description = 'subject_token has no scope that this client may ask for there';
    throw new errors.InvalidScope(description, subject.scopes.join(' '));
  }
  params.scope = scopes.join(' ');
  params.resource = resource;
  return scopes;
}
