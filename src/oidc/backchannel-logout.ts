import { randomUUID } from 'node:crypto';
import type { Provider } from 'oidc-provider';
import { z } from 'zod';
import type { Clients } from '../clients/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { failClosed } from './faults.ts';
import type { createOutboundFetch } from './outbound-fetch.ts';

/** A client that is to hear that a session has ended in which it took part. */
const logoutNoticeSchema = z.object({ clientId: z.string(), accountId: z.string(), sid: z.string().optional() });
type LogoutNotice = z.infer<typeof logoutNoticeSchema>;

/** Keeps a notice until it was delivered. @throws the database's own error */
export type KeepNotice = (notice: LogoutNotice) => Promise<void>;

/** An RP has this long to answer, in milliseconds; nobody waits for it. */
const ANSWER_TIMEOUT_MS = 5_000;

/**
 * The library would tell clients itself, once, and let the person wait for the slowest. Here each notice is made durable
 * before the session ends, and delivered later. Where that fails the sign-out fails: a client that nobody told would keep
 * the person signed in without anybody knowing.
 */
export function tellByQueue(provider: Provider, keep: KeepNotice): void {
  Object.defineProperty(provider.Client.prototype, 'backchannelLogout', {
    value: function backchannelLogout(this: { clientId: string }, accountId: string, sid: string): Promise<void> {
      return failClosed(() => keep({ clientId: this.clientId, accountId, sid }));
    },
  });
  // The library goes on when it hears of a failure; what is thrown here ends the request instead.
  provider.on('backchannel.error', (_context, error) => {
    throw error;
  });
}

/**
 * Keeps a notice for each client of an account's sessions, before these are ended by something else than a sign-out.
 *
 * @param dependencies.sessionClientsOf clients that took part in a living session
 */
export function createAccountNotices(dependencies: {
  clients: Pick<Clients, 'find'>;
  sessionClientsOf(accountId: string): Promise<readonly { clientId: string; sid: string | undefined }[]>;
  keep: KeepNotice;
}) {
  const { clients, sessionClientsOf, keep } = dependencies;
  return async function tellClientsOf(accountId: string): Promise<void> {
    for (const { clientId, sid } of await sessionClientsOf(accountId)) {
      const client = await clients.find(clientId);
      if (client?.metadata.backchannel_logout_uri === undefined) continue;
      await keep({ clientId, accountId, ...(sid !== undefined && { sid }) });
    }
  };
}

/**
 * Delivers notices (OpenID Connect Back-Channel Logout 1.0, section 2.5): a fresh logout token each time, signed with the
 * key of the moment. A client that is gone by then, or has no address for it any more, is told nothing.
 *
 * @returns resolves when the client has heard, or said that it won't (400, section 2.8); rejects where it is to be told again
 */
export function createLogoutSender(dependencies: {
  provider(): Provider;
  fetch: ReturnType<typeof createOutboundFetch>;
  logger: Logger;
}) {
  const { provider, fetch, logger } = dependencies;
  return async function sendLogout(payload: unknown, signal: AbortSignal): Promise<void> {
    const notice = logoutNoticeSchema.parse(payload);
    const current = provider();
    const client = await current.Client.find(notice.clientId);
    if (client?.backchannelLogoutUri === undefined) return;
    const response = await fetch(client.backchannelLogoutUri, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ logout_token: await logoutToken(current, client, notice) }).toString(),
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]),
    });
    await response.body?.cancel();
    const { status } = response;
    if (status === 200 || status === 204) logger.info({ client: notice.clientId }, 'a client was told of a sign-out');
    else if (status === 400) logger.warn({ client: notice.clientId }, 'a client refused to hear of a sign-out (400)');
    else throw new Error(`client ${notice.clientId} answered a logout token with status ${status}`);
  };
}

/** Section 2.4; the library signs, sets the time and makes the subject pairwise where it is. */
async function logoutToken(
  provider: Provider,
  client: InstanceType<Provider['Client']>,
  { accountId, sid }: LogoutNotice,
): Promise<string> {
  const token = new provider.IdToken({ sub: accountId }, { client, ctx: undefined });
  Object.assign(token, { mask: { sub: null } });
  token.set('events', { 'http://schemas.openid.net/event/backchannel-logout': {} });
  token.set('jti', randomUUID());
  if (client.backchannelLogoutSessionRequired && sid !== undefined) token.set('sid', sid);
  return token.issue({ use: 'logout' });
}
