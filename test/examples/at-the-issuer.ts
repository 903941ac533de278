import type { Page } from 'playwright-core';

/** Signs in on the pages of the issuer, and decides what the app may do. */
export async function signInAndDecide(
  page: Page,
  { login, password }: { login: string; password: string },
  decision: 'allow' | 'deny' = 'allow',
): Promise<void> {
  await page.fill('input[name=login]', login);
  await page.fill('input[name=password]', password);
  await page.click('button[type=submit]');
  await page.click(`button[value=${decision}]`);
}
