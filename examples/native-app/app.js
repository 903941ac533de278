import * as openid from 'openid-client';
import { findIssuer } from './find-issuer.js';
import { currentTokens, forgetTokens, keepTokens } from './kept-tokens.js';
import { signInByBrowser } from './sign-in-by-browser.js';
import { signInByDevice } from './sign-in-by-device.js';

const USAGE = `node app.js login            sign in by the browser of this machine
node app.js login --device   sign in by another device
node app.js whoami           say who is signed in
node app.js logout           sign out`;

const commands = {
  async login(flag) {
    const issuer = await findIssuer();
    const tokens = await (flag === '--device' ? signInByDevice(issuer) : signInByBrowser(issuer));
    await keepTokens({ subject: tokens.claims().sub, tokens });
    await commands.whoami();
  },

  async whoami() {
    const issuer = await findIssuer();
    const current = await currentTokens(issuer);
    if (current === undefined) return console.log('Nobody is signed in.');
    const { name, email } = await openid.fetchUserInfo(issuer, current.accessToken, current.subject);
    console.log(`Signed in as ${name}, ${email}.`);
  },

  async logout() {
    await forgetTokens(await findIssuer());
    console.log('Signed out.');
  },
};

const [name = '', flag] = process.argv.slice(2);
if (!Object.hasOwn(commands, name) || (flag !== undefined && `${name} ${flag}` !== 'login --device')) {
  console.error(USAGE);
  process.exit(1);
}
try {
  await commands[name](flag);
} catch (error) {
  // What the issuer refuses has a code of the protocol: `access_denied`, `expired_token`, `invalid_grant`.
  console.error(`It did not work: ${error.error ?? error.message}`);
  process.exitCode = 1;
}
