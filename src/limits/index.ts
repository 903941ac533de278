/**
 * Owns how often something may be tried: the slow-down of guessing at passwords. Refuses to know whether an account exists
 * or what it is called in clear: it counts pseudonyms, the same for names that nobody has.
 */
export { createSignInLimits, type SignInAttempt, type SignInLimits } from './sign-in-limits.ts';
