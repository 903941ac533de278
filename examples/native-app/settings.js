import { homedir } from 'node:os';
import { join } from 'node:path';

function required(name) {
  const value = process.env[name];
  if (value) return value;
  console.error(`${name} is not set`);
  process.exit(1);
}

/** Where Tessera is, as it calls itself. Without TLS tokens are anybody's on the way: http is for this machine, as in development. */
export const issuer = new URL(required('ISSUER'));
const isOnThisMachine = issuer.protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(issuer.hostname);
if (issuer.protocol !== 'https:' && !isOnThisMachine) {
  console.error('ISSUER wants https, unless it is on this machine');
  process.exit(1);
}

/** This app, as it is registered: a public client, for no program on a device can keep a secret (RFC 8252, section 8.5). */
export const clientId = required('CLIENT_ID');

/** What it asks for; `offline_access` stands for a refresh token, so that nobody signs in again every ten minutes. */
export const scope = 'openid profile email offline_access';

/** Where tokens are kept between two runs. */
export const tokensFile = process.env.TOKENS_FILE ?? join(homedir(), '.tessera-native-app.json');
