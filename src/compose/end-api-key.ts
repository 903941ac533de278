import { type ApiKeys, toApiKeyClientId } from '../api-keys/index.ts';
import type { AuditContext } from '../audit/index.ts';
import type { RevocationFilter } from '../tokens/index.ts';

type Changed = Awaited<ReturnType<ApiKeys['revoke']>>;
type Ended = Extract<Changed, { ok: false }> | (Extract<Changed, { ok: true }> & { revoked: number });

/** Changes of an API key that say what becomes of the tokens that were got with it. */
export type ApiKeyEndings = Readonly<{
  /** Refuses the key, for now or for good, and ends its tokens. @returns with it how many that are stored ended */
  endApiKey(how: 'disable' | 'revoke', id: string, by?: AuditContext): Promise<Ended>;
  /** Lets a disabled key be used again. Whatever disabled it, no token from before comes alive again with it. */
  enableApiKey(id: string, by?: AuditContext): Promise<Changed>;
}>;

/** @param domains.endAccess ends the tokens of a client, which a key is */
export function createApiKeyEndings(domains: {
  apiKeys: Pick<ApiKeys, 'disable' | 'revoke' | 'enable' | 'show'>;
  endAccess(whose: RevocationFilter, by?: AuditContext): Promise<number>;
}): ApiKeyEndings {
  const { apiKeys, endAccess } = domains;
  return {
    async endApiKey(how, id, by) {
      const changed = await apiKeys[how](id, by);
      // Refused first, so that none is issued meanwhile.
      return changed.ok ? { ...changed, revoked: await endAccess({ clientId: toApiKeyClientId(id) }, by) } : changed;
    },
    async enableApiKey(id, by) {
      const apiKey = await apiKeys.show(id);
      if (apiKey?.isDisabled && apiKey.revokedAt === undefined) {
        await endAccess({ clientId: toApiKeyClientId(id) }, by);
      }
      return apiKeys.enable(id, by);
    },
  };
}
