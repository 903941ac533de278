import { errors, type KoaContextWithOIDC } from 'oidc-provider';
import { boundedBy } from './bounded-lifetime.ts';
import { LINKS_CLAIM, type TokenLink } from './token-exchange-links.ts';
import type { ActClaim } from './token-exchange-tokens.ts';

/** What a token exchange has decided of the token that is about to be issued. */
export type Exchange = Readonly<{
  mode: 'delegation' | 'impersonation';
  /** Whom the token is about. */
  sub: string;
  /** The person that this is, if it is one. */
  accountId?: string | undefined;
  /** Who acts, and acted before; absent where nobody shall be told. */
  act?: ActClaim | undefined;
  /** Of what was exchanged, then what that came from. */
  links: readonly [TokenLink, ...TokenLink[]];
  /** Whether the token has to be bound to a key or certificate, as what was exchanged is. */
  isBound: boolean;
  /** Epoch seconds; the token must not outlive it. */
  expiresAt?: number | undefined;
}>;

const exchanges = new WeakMap<object, Exchange>();

/** Notes, before the token is made, what the functions below answer with. */
export function noteExchange(context: KoaContextWithOIDC, exchange: Exchange): void {
  exchanges.set(context.req, exchange);
}

/** The exchange that this request asked for and got; undefined for every other grant. */
export function exchangeOf(context: KoaContextWithOIDC): Exchange | undefined {
  return exchanges.get(context.req);
}

/** What the token of an exchange says beyond others (RFC 8693, section 4.1), and what it ends with. */
export function exchangeClaims(context: KoaContextWithOIDC): Record<string, unknown> {
  const exchange = exchangeOf(context);
  if (exchange === undefined) return {};
  const { sub, act, links } = exchange;
  return { sub, ...(act && { act }), [LINKS_CLAIM]: links };
}

/**
 * Bound tokens are not exchanged for one that whoever gets hold of it may use.
 *
 * @throws {errors.InvalidRequest} where the token that is about to be issued is bound to nothing, and what it came of is
 */
export function keepBound(context: KoaContextWithOIDC, token: { isSenderConstrained(): boolean }): void {
  if (!exchangeOf(context)?.isBound || token.isSenderConstrained()) return;
  throw new errors.InvalidRequest('subject_token is bound to a key: send a DPoP proof or use a client certificate');
}

/** The lifetime of a token, in seconds: what it came from must not end before it. */
export function boundedByExchange(context: KoaContextWithOIDC, seconds: number): number {
  return boundedBy(exchangeOf(context)?.expiresAt, seconds);
}
