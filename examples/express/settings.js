/** Without TLS whoever is on the way makes the keys and the answers: http is for an issuer here, as in development. */
const HOSTS_OF_THIS_MACHINE = new Set(['localhost', '127.0.0.1', '[::1]']);

/** Everything that this server is told by its environment. @throws with the name of what is missing or wrong */
export function readSettings(environment = process.env) {
  const required = (name) => environment[name] || fail(`${name} is missing`);
  const whole = (name, fallback, most) => {
    const value = Number(environment[name] || fallback);
    return Number.isInteger(value) && value >= 1 && value <= most ? value : fail(`${name} wants 1 to ${most}`);
  };
  const issuer = required('ISSUER');
  const { protocol, hostname } = new URL(issuer);
  const isOnThisMachine = protocol === 'http:' && HOSTS_OF_THIS_MACHINE.has(hostname);
  if (protocol !== 'https:' && !isOnThisMachine) fail('ISSUER wants https, unless it is on this machine');
  return {
    port: whole('PORT', 4000, 65_535),
    /** Where Tessera is reached, as it calls itself. */
    issuer,
    /** The identifier of the API that this server is. */
    audience: required('AUDIENCE'),
    introspectionClientId: required('INTROSPECTION_CLIENT_ID'),
    introspectionClientSecret: required('INTROSPECTION_CLIENT_SECRET'),
    /** For how long a revoked token may still be let in. */
    cacheSeconds: whole('INTROSPECTION_CACHE_SECONDS', 10, 30),
    cacheSize: whole('INTROSPECTION_CACHE_SIZE', 10_000, 1_000_000),
    /** Whether JWTs are introspected too, so that a revoked one is refused before it expires. */
    introspectsJwts: environment.INTROSPECT_JWTS === 'true',
  };
}

function fail(message) {
  throw new Error(message);
}
