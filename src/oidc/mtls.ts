import type { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { type ClientAuthMethod, type Configuration, errors } from 'oidc-provider';
import { matchesSubject, type SubjectMember } from '../clients/index.ts';
import type { Config } from '../config/index.ts';

/** Where certificates of clients are found; `http/` looks for them. */
export interface ClientCertificates {
  of(request: IncomingMessage): Readonly<{ certificate: X509Certificate; isVerified: boolean }> | undefined;
}

type MtlsConfig = Pick<Config, 'mtls'>;
type MtlsFeature = NonNullable<NonNullable<Configuration['features']>['mTLS']>;

/** What of mutual TLS (RFC 8705) the library offers, and how it sees a certificate. Without it, nobody has one. */
export function mtlsFeature({ mtls }: MtlsConfig, certificates: ClientCertificates | undefined): MtlsFeature {
  const of: ClientCertificates['of'] = (request) => certificates?.of(request);
  const looks = {
    // The library looks for one wherever a token is bound, also to what was offered once and is no more.
    getCertificate: ({ req }) => of(req)?.certificate,
    certificateAuthorized: ({ req }) => of(req)?.isVerified ?? false,
    certificateSubjectMatches({ req }, property, expected) {
      const certificate = of(req)?.certificate;
      return certificate !== undefined && matchesSubject(certificate.raw, property as SubjectMember, expected);
    },
  } satisfies MtlsFeature;
  if (mtls === undefined) return { ...looks, enabled: false };
  return {
    ...looks,
    enabled: true,
    certificateBoundAccessTokens: true,
    selfSignedTlsClientAuth: true,
    tlsClientAuth: mtls.verifiesChains,
  };
}

/** The ways to authenticate that mutual TLS adds. */
export function mtlsAuthMethods({ mtls }: MtlsConfig): ClientAuthMethod[] {
  if (mtls === undefined) return [];
  return mtls.verifiesChains ? ['tls_client_auth', 'self_signed_tls_client_auth'] : ['self_signed_tls_client_auth'];
}

/** The endpoints that clients with certificates call (RFC 8705, section 5), by their names in `routes` and in metadata. */
const ALIASED = {
  token: 'token_endpoint',
  userinfo: 'userinfo_endpoint',
  introspection: 'introspection_endpoint',
  revocation: 'revocation_endpoint',
  pushed_authorization_request: 'pushed_authorization_request_endpoint',
  device_authorization: 'device_authorization_endpoint',
  backchannel_authentication: 'backchannel_authentication_endpoint',
} as const;

/** What discovery says of mutual TLS beside what the library says. @param routes the paths of the endpoints that there are */
export function mtlsDiscovery(
  { mtls }: MtlsConfig,
  routes: Readonly<Partial<Record<string, string>>>,
): { mtls_endpoint_aliases?: Record<string, string> } {
  if (mtls === undefined) return {};
  const aliases = Object.entries(ALIASED).flatMap(([route, member]) => {
    const path = routes[route];
    return path === undefined ? [] : [[member, `${mtls.baseUrl}${path}`] as const];
  });
  return { mtls_endpoint_aliases: Object.fromEntries(aliases) };
}

/** A client's wish for tokens that are bound to its certificate. */
const BOUND_TOKENS = 'tls_client_certificate_bound_access_tokens';

/** The library forgets that wish where mutual TLS is off, and would hand out tokens that anyone may use: here it is looked at. */
export function mtlsExtraMetadata({ mtls }: MtlsConfig): string[] {
  return mtls === undefined ? [BOUND_TOKENS] : [];
}

/**
 * @throws {errors.InvalidClientMetadata} for a client that wants bound tokens where there is no mutual TLS: neither registered
 *   nor served
 */
export function refuseBoundTokens({ mtls }: MtlsConfig, member: string, value: unknown): void {
  if (mtls === undefined && member === BOUND_TOKENS && value === true) {
    throw new errors.InvalidClientMetadata(`${BOUND_TOKENS} wants mutual TLS, which is not set up here`);
  }
}
