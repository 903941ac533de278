/** A setting that has no default. */
export function required(name) {
  const value = process.env[name];
  if (value) return value;
  console.error(`${name} is not set`);
  process.exit(1);
}

/** Where Tessera is, as it calls itself. Without TLS tokens are anybody's on the way: http is for this machine, as in development. */
export const issuer = required('ISSUER');
const { protocol, hostname } = new URL(issuer);
const isOnThisMachine = protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(hostname);
if (protocol !== 'https:' && !isOnThisMachine) {
  console.error('ISSUER wants https, unless it is on this machine');
  process.exit(1);
}

/** The API as it is registered, and where browsers find it. */
export const audience = required('AUDIENCE');
export const apiUrl = process.env.API_URL ?? 'http://localhost:4001';

/** What the page asks for, and the API wants. */
export const apiScope = required('API_SCOPE');

/** Whether tokens are bound to a key of the browser (RFC 9449): the API then takes no others. */
export const usesDpop = process.env.DPOP === 'true';

/** @param fallback the port where `PORT` names none */
export const portOr = (fallback) => Number(process.env.PORT ?? fallback);
