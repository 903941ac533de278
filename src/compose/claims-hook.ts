import { pathToFileURL } from 'node:url';
import type { Config } from '../config/index.ts';
import { AppError, reasonOf } from '../errors.ts';
import type { SignInLimits } from '../limits/index.ts';
import type { ClaimsHook, OidcDependencies } from '../oidc/index.ts';

/**
 * Loads the deployment's own code that is asked about tokens.
 *
 * @throws {AppError} `configuration` where it can't be loaded, or is no function: nothing is served without what was meant
 *   to look at it
 */
export async function composeClaimsHook(
  { claimsHook }: Pick<Config, 'claimsHook'>,
  limits: Pick<SignInLimits, 'failuresFrom'>,
): Promise<OidcDependencies['claimsHook']> {
  if (claimsHook === undefined) return undefined;
  const { path } = claimsHook;
  const loaded: unknown = await import(pathToFileURL(path).href).catch((cause: unknown) => {
    throw new AppError({ code: 'configuration', message: `CLAIMS_HOOK: ${path}: ${reasonOf(cause)}`, cause });
  });
  const hook = (loaded as { default?: unknown }).default;
  if (typeof hook !== 'function') {
    throw new AppError({
      code: 'configuration',
      message: `CLAIMS_HOOK: ${path} wants a function as its default export`,
    });
  }
  return { hook: hook as ClaimsHook, failedSignIns: limits.failuresFrom };
}
