/** A setting that has no default. */
export function required(name) {
  const value = process.env[name];
  if (value) return value;
  console.error(`${name} is not set`);
  process.exit(1);
}

/** Where Tessera is, as it calls itself. */
export const issuer = required('ISSUER');

/** The API as it is registered, and where browsers find it. */
export const audience = required('AUDIENCE');
export const apiUrl = process.env.API_URL ?? 'http://localhost:4001';

/** What the page asks for, and the API wants. */
export const apiScope = required('API_SCOPE');

/** Whether tokens are bound to a key of the browser (RFC 9449): the API then takes no others. */
export const usesDpop = process.env.DPOP === 'true';

/** @param fallback the port where `PORT` names none */
export const portOr = (fallback) => Number(process.env.PORT ?? fallback);
