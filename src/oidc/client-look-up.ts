import { Provider } from 'oidc-provider';
import type { ClientLookUp } from '../clients/index.ts';

/**
 * Why the library looks for a client just now. At introspection it does so first for the caller, who has to be known whole,
 * and then for whoever a token was issued to: nobody else's server is called for that.
 */
export function lookUpOfRequest(): ClientLookUp {
  const context = Provider.ctx;
  const isCallerKnown = context?.oidc.client !== undefined;
  return { askedFrom: context?.ip, isHolder: isCallerKnown && context?.oidc.route === 'introspection' };
}
