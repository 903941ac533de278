/**
 * Owns how often something may be tried: the slow-down of guessing at passwords and at the codes of devices, and of devices
 * that ask too often. Refuses to know whether an account exists or what it is called in clear: it counts pseudonyms, the
 * same for names that nobody has.
 */
export { createDeviceLimits, type DeviceLimits, POLL_INTERVAL_SECONDS } from './device-limits.ts';
export { createDocumentFetchLimits } from './document-fetch-limits.ts';
export { createSignInLimits, type SignInAttempt, type SignInLimits } from './sign-in-limits.ts';
