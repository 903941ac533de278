import { type Adapter, type AdapterPayload, errors, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { ArtifactPayload, ArtifactStore } from '../tokens/index.ts';
import { endGrantForReuse } from './end-grant.ts';
import { failClosed } from './faults.ts';

/*
 * The library rotates in three steps: look the parent up, consume it, save a child. Here the third does it all, so that
 * a retry within the leeway (docs/refresh-tokens.md) can be told from a theft and gets the child that there is.
 */

/** Requests with a parent that was rotated already, within the leeway. */
const retries = new WeakSet<object>();
/** The child that there is, by the request whose own child was not kept. */
const successors = new WeakMap<object, string>();

/** @param adapter of refresh tokens; serves whatever is no refresh at the token endpoint */
export function rotatingAdapter(adapter: Adapter, store: ArtifactStore, leewaySeconds: number): Adapter {
  return {
    ...adapter,
    /** Elsewhere a parent is consumed from its first rotation on, or introspection would call it active. */
    async find(id) {
      const payload = await adapter.find(id);
      const request = currentRefresh()?.req;
      if (payload === undefined || !('consumed' in payload) || request === undefined || leewaySeconds === 0)
        return payload;
      const rotated = await failClosed(() => store.findRotatedRefreshToken(id, leewaySeconds));
      if (rotated === undefined) return payload;
      retries.add(request);
      return rotated as AdapterPayload;
    },
    /** The library consumes a refresh token that it rotates, and no other; the child that follows does it. */
    async consume(id) {
      if (currentRefresh() === undefined) await adapter.consume(id);
    },
    async upsert(id, payload, ttlSeconds) {
      const context = currentRefresh();
      const parent = context?.oidc.entities.RotatedRefreshToken;
      if (context === undefined || parent === undefined) return adapter.upsert(id, payload, ttlSeconds);
      const rotation = {
        parent: parent.jti,
        child: id,
        payload: payload as ArtifactPayload,
        ttlSeconds,
        leewaySeconds,
      };
      const result = await failClosed(() => store.rotateRefreshToken(rotation));
      switch (result.outcome) {
        case 'rotated':
          return;
        case 'retried':
          retries.add(context.req);
          successors.set(context.req, result.successor);
          return;
        case 'reused':
          // The library looks for reuse before it comes here, and this one came in between.
          if (parent.grantId !== undefined) await endGrantForReuse(store, parent.grantId);
          throw new errors.InvalidGrant('refresh token already used');
        case 'not_found':
          throw new errors.InvalidGrant('refresh token not found');
      }
    },
  };
}

/**
 * Whether this refresh must rotate whatever the policy says now: its parent was rotated a moment ago and is no token to
 * go on with, even if its client or its age has come to be of those that don't rotate.
 */
export function isRotationRetry(context: KoaContextWithOIDC): boolean {
  return retries.has(context.req);
}

/** Puts the child that there is into the answer, in place of the one that was not kept. */
export async function answerWithSuccessor(context: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void> {
  await next();
  const successor = successors.get(context.req);
  if (successor === undefined || context.status !== 200) return;
  context.body = { ...(context.body as Record<string, unknown>), refresh_token: successor };
}

function currentRefresh(): KoaContextWithOIDC | undefined {
  const context = Provider.ctx;
  const isRefresh = context?.oidc.route === 'token' && context.oidc.params?.grant_type === 'refresh_token';
  return isRefresh ? context : undefined;
}
