import { isIP } from 'node:net';
import { type KoaContextWithOIDC, Provider } from 'oidc-provider';
import { type Audit, type AuditEvent, auditContextOf } from '../audit/index.ts';
import { isRotationRetry } from './refresh-rotation.ts';
import { type Exchange, exchangeOf } from './token-exchange-claims.ts';

type Token = { clientId?: string | undefined; accountId?: string | undefined; grantId?: string | undefined };
type TokenKind = Extract<AuditEvent, { type: 'token.issued' }>['kind'];

/** Events that must be durable before the answer leaves, by the request that caused them. */
const pending = new WeakMap<object, Promise<void>[]>();

/**
 * Writes the provider's own events into the audit trail. The library emits and goes on, so what must be durable before
 * the answer is gathered here and awaited by `settleAudit`.
 */
export function listenForAudit(provider: Provider, audit: Pick<Audit, 'record' | 'enqueue'>): void {
  const record = (context: KoaContextWithOIDC, event: AuditEvent) => {
    const earlier = pending.get(context.req) ?? [];
    const cameFrom = auditContextOf(context);
    // One after the other: side by side, a consequence could stand in the trail before its cause.
    const recorded = Promise.allSettled(earlier).then(() => audit.record(event, cameFrom));
    // Awaited later; until then a failure must not count as unhandled.
    recorded.catch(() => undefined);
    pending.set(context.req, [...earlier, recorded]);
  };

  provider.on('grant.success', (context) => {
    for (const event of issued(context)) audit.enqueue(event, auditContextOf(context));
  });

  provider.on('grant.revoked', (context, grantId) => {
    const reuse = context.oidc.route === 'token' ? reuseDetected(context, grantId) : undefined;
    if (reuse !== undefined) record(context, reuse);
    record(context, { type: 'grant.revoked', grantId, reason: revocationReason(context), ...parties(context) });
  });

  const destroyed = (kind: TokenKind) => (token: Token) => {
    const context = Provider.ctx;
    if (context?.oidc.route !== 'revocation') return;
    record(context, { type: 'token.revoked', kind, ...partiesOf(token) });
  };
  provider.on('access_token.destroyed', destroyed('access'));
  provider.on('client_credentials.destroyed', destroyed('client_credentials'));
  provider.on('refresh_token.destroyed', destroyed('refresh'));

  provider.on('device_code.saved', (code) => {
    const context = Provider.ctx;
    const event = decisionOn(code);
    if (context !== undefined && event !== undefined) record(context, event);
  });

  provider.on('end_session.success', (context) => {
    const { session, params } = context.oidc;
    if (params?.logout === undefined || session?.accountId === undefined) return;
    record(context, { type: 'session.ended', reason: 'logout', accountId: session.accountId });
  });
}

type DeviceCode = NonNullable<KoaContextWithOIDC['oidc']['deviceCode']>;

/** A device code is saved when it is made, when a person begins with it, and when they have decided. */
function decisionOn(code: DeviceCode): AuditEvent | undefined {
  const { clientId, accountId, grantId, error, deviceInfo } = code;
  if (clientId === undefined) return undefined;
  if (error === 'access_denied') return { type: 'device.denied', clientId };
  if (accountId === undefined) return undefined;
  const address = deviceInfo?.address;
  return {
    type: 'device.allowed',
    accountId,
    clientId,
    grantId,
    ...(typeof address === 'string' && isIP(address) !== 0 ? { deviceAddress: address } : undefined),
  };
}

/** Holds an answer back until what it caused is recorded; where it can't be, the answer is an error (fails closed). */
export async function settleAudit(context: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void> {
  await next();
  await Promise.all(pending.get(context.req) ?? []);
}

function issued(context: KoaContextWithOIDC): AuditEvent[] {
  const { oidc } = context;
  const { AccessToken, ClientCredentials, RefreshToken, RotatedRefreshToken } = oidc.entities;
  const isRefresh = oidc.params?.grant_type === 'refresh_token';
  const access = AccessToken ?? ClientCredentials;
  if (access?.clientId === undefined) return [];
  const clientId = access.clientId;
  const scopes = [...access.scopes];
  if (isRefresh && AccessToken !== undefined) {
    const { accountId, grantId } = AccessToken;
    if (!accountId || !grantId) return [];
    const retry = isRotationRetry(context) ? { isRetry: true as const } : {};
    return [{ type: 'token.refreshed', clientId, accountId, grantId, scopes, ...retry }];
  }
  const resource = typeof access.aud === 'string' ? { resource: access.aud } : {};
  const exchange = exchangeOf(context);
  if (exchange !== undefined) return [{ type: 'token.exchanged', ...saidOf(exchange), clientId, scopes, ...resource }];
  const events: AuditEvent[] = [
    {
      type: 'token.issued',
      kind: AccessToken === undefined ? 'client_credentials' : 'access',
      scopes,
      ...partiesOf(access),
      clientId,
      ...resource,
    },
  ];
  if (RefreshToken !== undefined && RotatedRefreshToken === undefined) {
    events.push({
      type: 'token.issued',
      kind: 'refresh',
      scopes: [...RefreshToken.scopes],
      ...partiesOf(RefreshToken),
      clientId,
    });
  }
  return events;
}

function saidOf({ mode, sub, accountId, act, links: [exchangedToken] }: Exchange) {
  const { client_id: subjectClientId, grant_id: grantId } = exchangedToken;
  return {
    kind: mode,
    subject: sub,
    subjectClientId,
    ...(grantId === undefined ? undefined : { grantId }),
    ...(accountId === undefined ? undefined : { accountId }),
    ...(act === undefined ? undefined : { actor: act.sub }),
  };
}

/** At the token endpoint the library revokes a grant for one reason: something that may be used once was used again. */
function reuseDetected(context: KoaContextWithOIDC, grantId: string): AuditEvent | undefined {
  const { client, params } = context.oidc;
  if (client === undefined) return undefined;
  const type = params?.grant_type === 'refresh_token' ? 'token.reuse_detected' : 'code.reuse_detected';
  return { type, grantId, ...parties(context), clientId: client.clientId };
}

function revocationReason({ oidc }: KoaContextWithOIDC) {
  if (oidc.route === 'token') return 'reuse';
  return oidc.route === 'revocation' ? 'token_revoked' : 'logout';
}

function parties({ oidc }: KoaContextWithOIDC) {
  const accountId = oidc.session?.accountId ?? oidc.account?.accountId;
  return partiesOf({ accountId, clientId: oidc.client?.clientId });
}

function partiesOf({ clientId, accountId, grantId }: Token) {
  return {
    ...(clientId === undefined ? undefined : { clientId }),
    ...(accountId === undefined ? undefined : { accountId }),
    ...(grantId === undefined ? undefined : { grantId }),
  };
}
