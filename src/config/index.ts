/**
 * Owns the settings of the whole program: names, defaults, checks. The only reader of `process.env`; everyone else is
 * handed a frozen `Config`. Refuses to guess: a bad or missing value stops the start with one line per fault.
 */
export { CLOCK_TOLERANCE_SECONDS, type Clock, systemClock } from './clock.ts';
export { SIGNING_ALGORITHMS } from './config-schema.ts';
export { type Config, loadConfig } from './load-config.ts';
export { PROFILES, type Profile } from './profiles.ts';
export { RESPONSE_TYPES, toResponseType } from './response-types.ts';
