import type { Domains } from '../../src/compose/index.ts';
import { attribute, type createAuthority, createCertificate, OID, subjectOf } from './certificates.ts';
import { createServiceClient, createTestApi, unique } from './factories.ts';

export type CertifiedClient = Awaited<ReturnType<typeof createCertifiedClient>>;

/** A certificate of the clients' authority, and a client that is registered for its subject. */
export async function createCertifiedClient(
  domains: Domains,
  issuer: ReturnType<typeof createAuthority>,
  metadata: Record<string, unknown> = {},
) {
  const name = unique('client');
  const subject = subjectOf(attribute(OID.O, 'Example'), attribute(OID.CN, name));
  const certificate = createCertificate({ subject, issuer });
  const api = await createTestApi(domains);
  const scope = api.scopes[0]?.scope ?? '';
  const client = await createServiceClient(domains, scope, {
    metadata: {
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_subject_dn: `CN=${name},O=Example`,
      ...metadata,
    },
  });
  return { id: client.id, certificate, subject, api, scope };
}
