import type { KoaContextWithOIDC } from 'oidc-provider';
import type { Revocations } from '../tokens/index.ts';

/** What the node knew when each request began. */
const revisions = new WeakMap<object, number>();

/**
 * Notes, before a request looks at anything, which revocations the node knows. What the request then reads may be older
 * than a revocation that comes meanwhile, so its token must not pass for one that was issued after it.
 */
export function noteRevision(revocations: Pick<Revocations, 'revision'>) {
  return (context: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<unknown> => {
    revisions.set(context.req, revocations.revision());
    return next();
  };
}

/** The revision for a token that this request asks for; 0, which every mark ends, where none was noted. */
export function notedRevision(context: KoaContextWithOIDC): number {
  return revisions.get(context.req) ?? 0;
}
