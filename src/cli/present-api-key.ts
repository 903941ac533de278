import { type ApiKey, isLive, toApiKeyClientId } from '../api-keys/index.ts';
import { type Answer, toLines } from './answer.ts';

type ApiKeyAnswer = Answer & { json: Record<string, unknown> };

/**
 * @param now epoch milliseconds
 * @param key the value, where it is shown this once
 */
export function toApiKeyAnswer(apiKey: ApiKey, now: number, key?: string): ApiKeyAnswer {
  const { id, ...members } = presentApiKey(apiKey, now);
  const json = { id, ...(key === undefined ? {} : { key }), ...members };
  const note = key === undefined ? '' : '\n\nKeep the key now: it is not shown again.';
  return { json, text: `${toLines(json)}${note}` };
}

/** Says until when the secret before this one still works. @param until left out: it is dead */
export function withPreviousSecret({ json, text }: ApiKeyAnswer, until?: Date): ApiKeyAnswer {
  const note =
    until === undefined
      ? 'The secret before it works no longer.'
      : `The secret before it still works until ${until.toISOString()}: --overlap 0 ends it at once.`;
  return { json: { ...json, previous_secret_until: until ?? null }, text: `${text}\n${note}` };
}

/** Without its secret. @param now epoch milliseconds */
export function presentApiKey(apiKey: ApiKey, now: number) {
  const { owner, quota } = apiKey;
  return {
    id: toApiKeyClientId(apiKey.id),
    name: apiKey.name,
    ...(owner.kind === 'client' ? { client: owner.clientId } : { account: owner.accountId }),
    scope: apiKey.scopes.join(' '),
    apis: apiKey.apis,
    state: stateOf(apiKey, now),
    expires_at: apiKey.expiresAt,
    allowed_addresses: apiKey.allowedAddresses,
    quota: quota && { requests: quota.requests, window_seconds: quota.windowSeconds },
    rate_per_second: apiKey.ratePerSecond,
    created_at: apiKey.createdAt,
    updated_at: apiKey.updatedAt,
    revoked_at: apiKey.revokedAt,
    last_used_at: apiKey.lastUsedAt,
    last_used_from: apiKey.lastUsedFrom,
  };
}

function stateOf(apiKey: ApiKey, now: number): 'live' | 'revoked' | 'disabled' | 'expired' {
  if (isLive(apiKey, now)) return 'live';
  if (apiKey.revokedAt !== undefined) return 'revoked';
  return apiKey.isDisabled ? 'disabled' : 'expired';
}
