import type { Middleware } from 'koa';
import mount from 'koa-mount';
import type { Provider } from 'oidc-provider';

/** One provider with the middleware that it is reached by. */
type BuiltProvider = { provider: Provider; middleware: Middleware };

/** The current provider. The library reads its keys and scopes once, so a change of either makes another one. */
export type ProviderHandle = Readonly<{
  current(): Provider;
  /** Serves every request with the provider that is current when it arrives. */
  middleware: Middleware;
  /** Builds anew from the keys and APIs as they are now, and swaps between two requests. */
  rebuild(): Promise<void>;
}>;

/** @param build makes a provider; a failure leaves the one before in place */
export async function createProviderHandle(build: () => Promise<Provider>): Promise<ProviderHandle> {
  let built = toBuilt(await build());
  let rebuilding: Promise<void> = Promise.resolve();
  return {
    current: () => built.provider,
    middleware: (context, next) => built.middleware(context, next),
    rebuild() {
      // One after the other: an older set of keys must never replace a newer one.
      rebuilding = rebuilding
        .catch(() => undefined)
        .then(async () => {
          built = toBuilt(await build());
        });
      return rebuilding;
    },
  };
}

function toBuilt(provider: Provider): BuiltProvider {
  return { provider, middleware: mount('/', provider) };
}
