function required(name) {
  const value = process.env[name];
  if (value) return value;
  console.error(`${name} is not set`);
  process.exit(1);
}

const port = Number(process.env.PORT ?? 4000);
const origin = new URL(process.env.ORIGIN ?? `http://localhost:${port}`).origin;
const isSecure = origin.startsWith('https:');

/** Without TLS tokens are anybody's on the way: http is for an issuer on this machine, as in development. */
const issuer = new URL(required('ISSUER'));
const isOnThisMachine = issuer.protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(issuer.hostname);
if (issuer.protocol !== 'https:' && !isOnThisMachine) {
  console.error('ISSUER wants https, unless it is on this machine');
  process.exit(1);
}

/** Everything that this server is told by its environment. */
export const settings = {
  port,
  /** Where browsers find this server. */
  origin,
  isSecure,
  /** Where Tessera is, as it calls itself. */
  issuer,
  clientId: required('CLIENT_ID'),
  clientSecret: required('CLIENT_SECRET'),
  /** The API that the page's data come from: where it is, its identifier, and what is wanted of it. */
  apiUrl: required('API_URL'),
  audience: required('AUDIENCE'),
  apiScope: required('API_SCOPE'),
  /** How long before its end an access token is replaced. */
  renewBeforeSeconds: Number(process.env.RENEW_BEFORE_SECONDS ?? 30),
};

const common = { httpOnly: true, secure: isSecure, path: '/' };
/** The prefix keeps servers on other subdomains from setting a cookie of this name (RFC 6265bis, section 4.1.3.2). */
const prefix = isSecure ? '__Host-' : '';

/** Says who is signed in. No other site can have it sent, not even by a link. */
export const sessionCookie = { name: `${prefix}session`, options: { ...common, sameSite: 'strict' } };

/** Says which sign-in has begun. Lax, as it has to come along when the issuer sends the browser back. */
export const signInCookie = {
  name: `${prefix}sign-in`,
  options: { ...common, sameSite: 'lax', maxAge: 10 * 60 * 1_000 },
};
