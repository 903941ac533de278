import type { KoaContextWithOIDC } from 'oidc-provider';
import type { AuthorizationDetail } from '../clients/index.ts';

/** What a request asks for; undefined where it asks for none. The library has parsed it before, and refused what is no list. */
export function requestedDetails({ oidc }: KoaContextWithOIDC): AuthorizationDetail[] | undefined {
  const given: unknown = oidc.params?.authorization_details;
  return typeof given === 'string' ? (JSON.parse(given) as AuthorizationDetail[]) : undefined;
}
