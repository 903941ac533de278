/**
 * Owns how often something may be tried: the slow-down of guessing at passwords and at the codes of devices, and of devices
 * that ask too often, and how many clients one address may register. Refuses to know whether an account exists or what it is called in clear: it counts pseudonyms, the
 * same for names that nobody has.
 */
export { createDeviceLimits, type DeviceLimits, POLL_INTERVAL_SECONDS } from './device-limits.ts';
export { createDocumentFetchLimits } from './document-fetch-limits.ts';
export { createRegistrationLimits, type RegistrationLimits } from './registration-limits.ts';
export { createSignInLimits, type SignInAttempt, type SignInLimits } from './sign-in-limits.ts';
