/**
 * Builds every part once and hands each the others that it needs: alone in picking implementations. Refuses to decide
 * anything itself.
 */
export { composeDomains, type Domains, prepareDatabase } from './domains.ts';
export { type OpenedDatabase, openEnvironmentDatabase } from './environment-database.ts';
export { composeKeys } from './keys.ts';
export { readOwnTlsFiles } from './listeners.ts';
export { composeServer, type Server } from './server.ts';
