import type { KoaContextWithOIDC } from 'oidc-provider';
import type { ApiKey, ApiKeyVerdict } from '../api-keys/index.ts';

/**
 * Says how the limits of an API key stand (draft-ietf-httpapi-ratelimit-headers-11, sections 3 and 4): in
 * `RateLimit-Policy` what they are, in `RateLimit` what is left of the quota and, where the rate is exceeded, nothing of that.
 * A key without limits gets neither field.
 */
export function setRateLimitFields(context: KoaContextWithOIDC, apiKey: ApiKey, verdict: ApiKeyVerdict): void {
  const { quota, ratePerSecond } = apiKey;
  const policies = [
    ...(quota === undefined ? [] : [`"quota";q=${quota.requests};w=${quota.windowSeconds}`]),
    ...(ratePerSecond === undefined ? [] : [`"rate";q=${ratePerSecond};w=1`]),
  ];
  const limits = [
    ...(verdict.quota === undefined ? [] : [`"quota";r=${verdict.quota.remaining};t=${verdict.quota.resetSeconds}`]),
    ...(verdict.ok || verdict.reason !== 'rate_exceeded' ? [] : [`"rate";r=0;t=${verdict.retryAfterSeconds}`]),
  ];
  if (policies.length > 0) context.set('RateLimit-Policy', policies.join(', '));
  if (limits.length > 0) context.set('RateLimit', limits.join(', '));
}
