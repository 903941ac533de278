/**
 * Owns API keys: making, checking, rolling and ending them, and counting what they are used for. Refuses to keep a secret:
 * only its digest is stored, and a key leaves once, in the answer that made it. Knows no token and no protocol; what its
 * owner may do, and whether there is one, it asks of others.
 */
export {
  type ApiKey,
  type ApiKeyOwner,
  effectiveApis,
  effectiveScopes,
  isLive,
} from './api-key.ts';
export type { ApiKeyAudit } from './api-key-audit.ts';
export type { ApiKeyVerdict, QuotaState } from './api-key-use.ts';
export {
  isMeantAsApiKey,
  isShapedAsApiKey,
  parseApiKey,
  parseApiKeyClientId,
  toApiKeyClientId,
} from './api-key-value.ts';
export { type ApiKeys, createApiKeys } from './api-keys.ts';
export { toDay } from './day.ts';
export type { ApiKeyOwners } from './owners.ts';
