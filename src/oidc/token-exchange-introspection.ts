import type { KoaContextWithOIDC } from 'oidc-provider';
import { failClosed } from './faults.ts';
import { LINKS_CLAIM, type LinkReader, linksIn } from './token-exchange-links.ts';

/**
 * Completes what the library says at /introspect of an opaque token that came of an exchange: it is active while all that it
 * came from is, and nobody is told what that was.
 */
export function introspectExchanged(readLinks: LinkReader) {
  return async (context: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void> => {
    await next();
    if (context.oidc?.route !== 'introspection') return;
    const { [LINKS_CLAIM]: links, ...shown } = (context.body ?? {}) as Record<string, unknown>;
    if (links === undefined) return;
    const parties = await failClosed(() => readLinks(linksIn({ [LINKS_CLAIM]: links }), String(shown.sub)));
    context.body = parties === undefined ? { active: false } : shown;
  };
}
