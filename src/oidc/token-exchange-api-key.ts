import { errors, type KoaContextWithOIDC } from 'oidc-provider';
import { parseApiKey } from '../api-keys/index.ts';
import { askForUse, noteRefusedUse } from './api-key-grant.ts';
import { ownerIdOf } from './callers.ts';
import { failClosed } from './faults.ts';
import { notedRevision } from './jwt-revision.ts';
import { findKnownKey, type KeySources, namedAddress } from './known-keys.ts';
import type { PresentedToken } from './token-exchange-tokens.ts';

/** Of an API key that a client was sent, as it is worth where the client may introspect it. */
export type PresentedKeyReader = (
  context: KoaContextWithOIDC,
  value: string,
  callerId: string,
) => Promise<PresentedToken | undefined>;

/**
 * Makes a reader of API keys: what comes of one is about the key's owner, and is one use of the key.
 *
 * @returns undefined for what is no living key, or none of the caller's business, without a word on why
 */
export function createPresentedKeyReader(sources: KeySources): PresentedKeyReader {
  return async (context, value, callerId) => {
    const parts = parseApiKey(value);
    const found = parts && (await failClosed(() => findKnownKey(sources, callerId, parts)));
    if (found === undefined) return undefined;
    const { holder, apiKey, onlyApi, scopes, expiresAt } = found;
    const { owner } = apiKey;
    return {
      sub: ownerIdOf(owner),
      clientId: holder.id,
      ...(owner.kind === 'account' ? { accountId: owner.accountId } : undefined),
      scopes,
      ...(expiresAt === undefined ? undefined : { expiresAt }),
      links: [{ client_id: holder.id, rev: notedRevision(context) }],
      spend() {
        const verdict = sources.apiKeys.allow(apiKey, { api: onlyApi, address: namedAddress(context) });
        noteRefusedUse(context, apiKey, verdict);
        if (!verdict.ok && verdict.reason.startsWith('address')) {
          throw new errors.InvalidRequest('subject_token may not be used from this ip_address, or from an unknown one');
        }
        askForUse(context, apiKey, verdict);
      },
    };
  };
}
