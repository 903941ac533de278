import { Provider } from 'oidc-provider';
import type { ArtifactKind, ArtifactStore } from '../tokens/index.ts';
import { failClosed } from './faults.ts';

/*
 * The library ends a grant kind by kind, all at once, and destroys the token that was presented beside or before that.
 * Should the database fail in between, the token would be gone, and with it the way to repeat what failed, while others
 * of its grant live on: a second revocation would find nothing and answer 200 (RFC 7009, section 2.2), a second reuse
 * would pass for an unknown token. Here all of it is one work that buries the grant first. Until then nothing is gone;
 * from then on nothing under it counts.
 */

/** Grants that a request ends. */
const endings = new WeakMap<object, Map<string, Promise<void>>>();

/** Ends a grant and all under it, once per request however often it is asked. @throws where the database is away */
export function endGrant(store: ArtifactStore, grantId: string): Promise<void> {
  const end = () => failClosed(async () => void (await store.revokeAll({ grantId })));
  const request = Provider.ctx?.req;
  if (request === undefined) return end();
  const ofRequest = endings.get(request) ?? new Map<string, Promise<void>>();
  endings.set(request, ofRequest);
  const ending = ofRequest.get(grantId) ?? end();
  ofRequest.set(grantId, ending);
  return ending;
}

/** Ends a grant of which something was used twice, where the library does not see that itself; the audit trail hears of it. */
export async function endGrantForReuse(store: ArtifactStore, grantId: string): Promise<void> {
  await endGrant(store, grantId);
  const context = Provider.ctx;
  context?.oidc.provider.emit('grant.revoked', context, grantId);
}

/** Whether the library, which destroys this token, is about to end its grant: it never does the one without the other. */
export function endsWithGrant(kind: ArtifactKind, id: string): boolean {
  if (kind !== 'AccessToken' && kind !== 'RefreshToken') return false;
  const presented = Provider.ctx?.oidc.entities[kind];
  return presented?.jti === id && presented.grantId !== undefined;
}
