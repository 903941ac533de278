import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';

const EXTRACT = fileURLToPath(new URL('./extract-chromium.ts', import.meta.url));

/** Pages reach this machine alone, and nothing of a browser's own goes anywhere. */
const ARGUMENTS = [
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1',
  '--disable-gpu',
  '--disable-domain-reliability',
  '--no-pings',
  '--font-render-hinting=none',
];

/**
 * A real Chromium without a window: the one at `CHROMIUM_PATH`, else that of the npm package. It ends with `close`, and
 * with the process that started it, whose pipe it hangs on. Without its sandbox, which root and many containers can't
 * have: it sees no pages but ours.
 */
export async function launchBrowser(): Promise<Browser> {
  const systemPath = process.env.CHROMIUM_PATH;
  if (systemPath !== undefined && systemPath !== '') return launch(systemPath);
  const { stdout } = await promisify(execFile)(process.execPath, [EXTRACT]);
  const { executable, fontsConfiguration, libraries } = JSON.parse(stdout) as Record<string, string>;
  const environment = { FONTCONFIG_FILE: fontsConfiguration };
  try {
    return await launch(executable, environment);
  } catch (error) {
    if (!String(error).includes('error while loading shared libraries')) throw error;
    return launch(executable, { ...environment, LD_LIBRARY_PATH: libraries });
  }
}

function launch(executablePath: string | undefined, environment: Record<string, string | undefined> = {}) {
  return chromium.launch({
    ...(executablePath === undefined ? undefined : { executablePath }),
    args: ARGUMENTS,
    chromiumSandbox: false,
    env: { ...process.env, ...environment },
  });
}

/** For one step of a person; more is a fault, on the busiest machine. */
const PATIENCE_MS = 15_000;

/** Runs in the page, before its own scripts. */
const REPORT_VIOLATIONS = `document.addEventListener('securitypolicyviolation', ({ effectiveDirective, blockedURI }) => {
  console.error('violates ' + effectiveDirective + ': ' + blockedURI);
});`;

type ContextOptions = NonNullable<Parameters<Browser['newContext']>[0]>;

/** A person's browser, with cookies of its own, and what went wrong on its pages. */
export type Visit = {
  context: BrowserContext;
  page: Page;
  /** Console errors, uncaught exceptions and violations of the content security policy, of all its pages. */
  complaints: string[];
};

/** @param options of Playwright, such as `javaScriptEnabled`, `locale` or `viewport` */
export async function visit(browser: Browser, options: ContextOptions = {}): Promise<Visit> {
  const context = await browser.newContext({ locale: 'en', ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const complaints: string[] = [];
  /** Chromium reports every document with an error status on the console; that status is the test's to judge. */
  const refusedDocuments = new Set<string>();
  context.on('response', (response) => {
    if (response.request().isNavigationRequest() && response.status() >= 400) refusedDocuments.add(response.url());
  });
  context.on('console', (message) => {
    const isRefusedDocument =
      message.text().startsWith('Failed to load resource') && refusedDocuments.has(message.location().url);
    if (['error', 'warning'].includes(message.type()) && !isRefusedDocument) complaints.push(message.text());
  });
  context.on('weberror', (error) => complaints.push(String(error.error())));
  await context.addInitScript({ content: REPORT_VIOLATIONS });
  return { context, page: await context.newPage(), complaints };
}
