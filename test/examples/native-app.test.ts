import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchBrowser, visit } from '../harness/browser.ts';
import { DEVICE_CODE_GRANT } from '../harness/devices.ts';
import { blocksIn, readDocument, SAVED } from '../harness/documents.ts';
import { createTestAccount, createTestClient, type TestClient } from '../harness/factories.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { introspect, userinfo } from '../harness/token-requests.ts';
import { until } from '../harness/until.ts';
import { rawRequest } from '../security/raw-http.ts';
import { type InstalledExample, installExample } from './example-program.ts';
import { walkthrough } from './walkthrough.ts';

let server: TestServer;
let browser: Browser;
let app: InstalledExample;
let client: TestClient;
let person: { login: string; password: string };
let tokensFile: string;
const running = new Set<ChildProcess>();

beforeAll(async () => {
  [server, browser, app] = await Promise.all([
    startTestServer(),
    launchBrowser(),
    installExample({
      name: 'native-app',
      install: [['npm', 'ci', '--no-audit', '--no-fund']],
      command: [process.execPath, 'app.js'],
    }),
  ]);
  client = await createTestClient(server.domains, {
    metadata: {
      redirect_uris: ['http://127.0.0.1/callback'],
      grant_types: ['authorization_code', 'refresh_token', DEVICE_CODE_GRANT],
      token_endpoint_auth_method: 'none',
      application_type: 'native',
    },
  });
  person = await createTestAccount(server.domains, { name: 'Ada Lovelace' });
  tokensFile = join(app.folder, 'tokens.json');
}, 240_000);
afterAll(async () => {
  for (const child of running) child.kill('SIGKILL');
  await Promise.all([browser?.close(), app?.remove()]);
  await server?.close();
});

/** The app with these arguments. */
const runApp = (...args: string[]) => runProgram('app.js', ...args);

/** The app, which is told of another issuer. */
const runElsewhere = (issuer: string) =>
  runProgram('--import', `data:text/javascript,process.env.ISSUER='${issuer}'`, 'app.js', 'whoami').end();

/** One of its programs, as somebody runs it in a terminal. */
function runProgram(...command: string[]) {
  const child = spawn(process.execPath, command, {
    cwd: app.folder,
    env: { ...process.env, NODE_OPTIONS: '', ISSUER: server.issuer, CLIENT_ID: client.id, TOKENS_FILE: tokensFile },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const complaints = text(child.stderr);
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve)).finally(() =>
    running.delete(child),
  );
  return {
    /** What it has printed, once there is something like this. */
    printed: (wanted: RegExp) => until(`the app prints ${wanted}`, () => wanted.exec(output)?.[1]),
    async end() {
      const exitCode = await ended;
      return { exitCode, output, complaints: await complaints };
    },
  };
}

async function signInAndDecide(page: Page, decision: 'allow' | 'deny'): Promise<void> {
  await page.fill('input[name=login]', person.login);
  await page.fill('input[name=password]', person.password);
  await page.click('button[type=submit]');
  await page.click(`button[value=${decision}]`);
}

const kept = () => JSON.parse(readFileSync(tokensFile, 'utf8')) as Record<string, string>;
const SIGNED_IN = /Signed in as Ada Lovelace, person-\w+@example\.com\./;

describe('login by the browser of the machine', () => {
  test('gets the tokens of who signed in, by a port that was free', async () => {
    const { context, page } = await visit(browser);
    const login = runApp('login');
    await page.goto(await login.printed(/(http:\S+authorize\S+)/));
    await signInAndDecide(page, 'allow');
    await page.waitForURL('http://127.0.0.1:*/callback?**');
    expect(await page.textContent('body')).toContain('You are signed in.');
    const { exitCode, output } = await login.end();
    expect({ exitCode, output }).toEqual({ exitCode: 0, output: expect.stringMatching(SIGNED_IN) });
    expect((await userinfo(server.issuer, String(kept().accessToken))).status).toBe(200);
    expect(statSync(tokensFile).mode & 0o777).toBe(0o600);
    await context.close();
  });

  test('says who denied it, and keeps nothing new', async () => {
    const { context, page } = await visit(browser);
    const before = kept();
    const login = runApp('login');
    await page.goto(await login.printed(/(http:\S+authorize\S+)/));
    await signInAndDecide(page, 'deny');
    expect(await login.end()).toMatchObject({ exitCode: 1, complaints: 'It did not work: access_denied\n' });
    expect(kept()).toEqual(before);
    await context.close();
  });

  test('takes no answer that another program makes up', async () => {
    const { context, page } = await visit(browser);
    const login = runApp('login');
    const address = await login.printed(/(http:\S+authorize\S+)/);
    const redirectUri = new URL(address).searchParams.get('redirect_uri');
    expect(redirectUri).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/callback$/);
    for (const forged of ['?code=x', '?code=x&state=x', '?error=access_denied', `/more?state=${'x'.repeat(43)}`]) {
      expect((await fetch(`${redirectUri}${forged}`)).status).toBe(404);
    }
    // No address at all, which fetch wouldn't send.
    expect((await rawRequest(new URL(redirectUri ?? '').origin, { path: '//' })).status).toBe(404);
    await page.goto(address);
    await signInAndDecide(page, 'allow');
    expect((await login.end()).exitCode).toBe(0);
    await context.close();
  });
});

describe('login by another device', () => {
  test('gets the tokens of who typed the code in', async () => {
    const { context, page } = await visit(browser);
    const login = runApp('login', '--device');
    const code = await login.printed(/\n {2}([A-Z]{4}-[A-Z]{4})\n/);
    await page.goto(await login.printed(/(http:\S+device)\n/));
    await page.fill('input[name=user_code]', code);
    await page.click('button[type=submit]');
    await page.click('button[name=confirm]');
    await signInAndDecide(page, 'allow');
    expect(await page.textContent('h1')).toBe('Your device is connected');
    expect(await login.end()).toMatchObject({ exitCode: 0, output: expect.stringMatching(SIGNED_IN) });
    await context.close();
  });

  test('says who denied it', async () => {
    const { context, page } = await visit(browser);
    const login = runApp('login', '--device');
    const code = await login.printed(/\n {2}([A-Z]{4}-[A-Z]{4})\n/);
    await page.goto(`${server.issuer}/device?user_code=${code}`);
    await page.click('button[type=submit]');
    await page.click('button[name=abort]');
    expect(await login.end()).toMatchObject({ exitCode: 1, complaints: 'It did not work: access_denied\n' });
    await context.close();
  });
});

describe('what is kept', () => {
  test('serves the next run, and is refreshed when it has expired', async () => {
    const { accessToken, refreshToken } = kept();
    expect((await runApp('whoami').end()).output).toMatch(SIGNED_IN);
    expect(kept().accessToken).toBe(accessToken);
    writeFileSync(tokensFile, JSON.stringify({ ...kept(), expiresAt: 0 }));
    expect((await runApp('whoami').end()).output).toMatch(SIGNED_IN);
    expect(kept().accessToken).not.toBe(accessToken);
    expect(kept().refreshToken).not.toBe(refreshToken);
  });

  test('is never written through a link that another program has put there just before', async () => {
    const thief = join(app.folder, 'thief.json');
    const links = join(app.folder, 'links.mjs');
    writeFileSync(
      links,
      `import fs from 'node:fs/promises';
       import { syncBuiltinESMExports } from 'node:module';
       const { symlink, writeFile } = fs;
       fs.writeFile = async (path, ...rest) => {
         await symlink(${JSON.stringify(thief)}, path);
         return writeFile(path, ...rest);
       };
       syncBuiltinESMExports();`,
    );
    const before = readFileSync(tokensFile, 'utf8');
    writeFileSync(tokensFile, JSON.stringify({ ...JSON.parse(before), expiresAt: 0 }));
    expect((await runProgram('--import', links, 'app.js', 'whoami').end()).complaints).toContain('EEXIST');
    expect(existsSync(thief)).toBe(false);
    // What was refreshed is lost with that run: somebody signs in again.
    const { context, page } = await visit(browser);
    const login = runApp('login');
    await page.goto(await login.printed(/(http:\S+authorize\S+)/));
    await signInAndDecide(page, 'allow');
    expect((await login.end()).exitCode).toBe(0);
    await context.close();
  });

  test('is worth nothing after a sign-out, for who has a copy', async () => {
    const { accessToken, refreshToken } = kept();
    expect((await runApp('logout').end()).output).toBe('Signed out.\n');
    expect((await runApp('whoami').end()).output).toBe('Nobody is signed in.\n');
    for (const token of [accessToken, refreshToken]) {
      expect((await introspect(server.issuer, client, String(token))).body).toEqual({ active: false });
    }
  });
});

test('an issuer that is reached without TLS is one of this machine', async () => {
  const { exitCode, complaints } = await runElsewhere('http://id.example.com');
  expect({ exitCode, complaints }).toEqual({ exitCode: 1, complaints: expect.stringContaining('ISSUER wants https') });
});

test('a command that it does not know is answered by those that it does', async () => {
  for (const args of [[], ['nothing'], ['login', '--nothing'], ['toString']]) {
    const { exitCode, complaints } = await runApp(...args).end();
    expect({ args, exitCode, complaints }).toEqual({
      args,
      exitCode: 1,
      complaints: expect.stringContaining('whoami'),
    });
  }
});

describe('the programs of the guide', () => {
  const saved = (name: string) => {
    const block = blocksIn(readDocument('docs/guides/native-app.md')).find(({ mark }) => mark === SAVED + name);
    if (block === undefined) throw new Error(`the guide has no ${name}`);
    const here = block.body.replaceAll('http://localhost:3000', server.issuer).replaceAll("'radio'", `'${client.id}'`);
    writeFileSync(join(app.folder, name), here);
  };
  const GREETING = /Good morning, Ada Lovelace\.\n$/;

  test('sign in by another device', async () => {
    saved('radio.js');
    const { context, page } = await visit(browser);
    const radio = runProgram('radio.js');
    const code = await radio.printed(/type in ([A-Z-]{9})\n/);
    await page.goto(await radio.printed(/Open (\S+) and/));
    await page.fill('input[name=user_code]', code);
    await page.click('button[type=submit]');
    await page.click('button[name=confirm]');
    await signInAndDecide(page, 'allow');
    expect(await page.textContent('h1')).toBe('Your device is connected');
    expect(await radio.end()).toMatchObject({ exitCode: 0, output: expect.stringMatching(GREETING) });
    await context.close();
  });

  test('sign in by the browser of the machine', async () => {
    saved('radio-by-browser.js');
    const { context, page } = await visit(browser);
    const radio = runProgram('radio-by-browser.js');
    await page.goto(await radio.printed(/(http:\S+authorize\S+)/));
    await signInAndDecide(page, 'allow');
    expect(await radio.end()).toMatchObject({ exitCode: 0, output: expect.stringMatching(GREETING) });
    await context.close();
  });
});

walkthrough('examples/native-app/README.md');
walkthrough('docs/guides/native-app.md');
