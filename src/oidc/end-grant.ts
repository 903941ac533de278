import { Provider } from 'oidc-provider';
import type { ArtifactStore } from '../tokens/index.ts';
import { failClosed } from './faults.ts';

/** Ends a grant of which something was used twice, as the library does it where it sees that itself; the audit trail hears of it. */
export async function endGrant(store: ArtifactStore, grantId: string): Promise<void> {
  await failClosed(() => store.revokeAll({ grantId }));
  const context = Provider.ctx;
  context?.oidc.provider.emit('grant.revoked', context, grantId);
}
