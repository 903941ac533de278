import { defaults } from '../../config/defaults.ts';
import type { Environment } from './config-schema.ts';
import { type Fault, report } from './faults.ts';

/** PEM files of the certificate with which this server speaks TLS itself. */
export type Tls = Readonly<{ certFile: string; keyFile: string }>;

/** Mutual TLS (RFC 8705). */
export type Mtls = Readonly<{
  /** The origin that clients with certificates call, as published in `mtls_endpoint_aliases`. */
  baseUrl: string;
  /** Whether certificates are verified against authorities, without which `tls_client_auth` is not offered. */
  verifiesChains: boolean;
  source:
    | Readonly<{ kind: 'port'; port: number; caFile: string | undefined }>
    /** Names of headers, in lower case. */
    | Readonly<{ kind: 'header'; certificate: string; verified: string | undefined }>;
}>;

/** Looks at the settings as they were given, so that these are told together with whatever else is wrong. */
export function reportTlsFaults(given: Readonly<Record<string, string>>, faults: Fault[]): void {
  const asksForCertificates = /[1-9]/.test(given.MTLS_PORT ?? '');
  const endsTls = given.TLS_CERT_FILE !== undefined;
  if (endsTls && given.TLS_KEY_FILE === undefined)
    report(faults, 'TLS_KEY_FILE', 'wants the private key of the certificate in TLS_CERT_FILE');
  if (!endsTls && given.TLS_KEY_FILE !== undefined)
    report(faults, 'TLS_CERT_FILE', 'wants the certificate of the key in TLS_KEY_FILE');
  if (endsTls && given.ISSUER?.startsWith('http:'))
    report(faults, 'ISSUER', 'wants https where TLS_CERT_FILE is set: PORT then speaks nothing else');
  if (asksForCertificates) {
    if (!endsTls)
      report(faults, 'MTLS_PORT', 'wants TLS_CERT_FILE and TLS_KEY_FILE; where a proxy ends TLS, set MTLS_BASE_URL');
    if (Number(given.MTLS_PORT) === Number(given.PORT ?? defaults.PORT))
      report(faults, 'MTLS_PORT', 'wants another port than PORT, where browsers would ask people for certificates');
    if (given.CLIENT_CERT_VERIFIED_HEADER !== undefined)
      report(faults, 'CLIENT_CERT_VERIFIED_HEADER', 'has no meaning beside MTLS_PORT: this server verifies by itself');
    return;
  }
  if (given.MTLS_CA_FILE !== undefined)
    report(faults, 'MTLS_CA_FILE', 'wants MTLS_PORT: where a proxy asks for certificates, the proxy verifies them');
  if (given.MTLS_BASE_URL !== undefined && given.TRUST_PROXY === undefined)
    report(faults, 'MTLS_BASE_URL', 'wants TRUST_PROXY, the proxy that hands over certificates, or MTLS_PORT');
  if (given.CLIENT_CERT_VERIFIED_HEADER === undefined) return;
  if (given.MTLS_BASE_URL === undefined)
    report(faults, 'CLIENT_CERT_VERIFIED_HEADER', 'wants MTLS_BASE_URL, where clients with certificates call');
  const certificateHeader = given.CLIENT_CERT_HEADER ?? defaults.CLIENT_CERT_HEADER;
  if (given.CLIENT_CERT_VERIFIED_HEADER.toLowerCase() === certificateHeader.toLowerCase())
    report(faults, 'CLIENT_CERT_VERIFIED_HEADER', 'wants another header than CLIENT_CERT_HEADER');
}

export function toTls({ TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile }: Environment): Tls | undefined {
  return certFile === undefined || keyFile === undefined ? undefined : Object.freeze({ certFile, keyFile });
}

/** @param issuer whose host, at `MTLS_PORT`, clients with certificates call unless told otherwise */
export function toMtls(values: Environment, issuer: string): Mtls | undefined {
  const { MTLS_PORT: port, MTLS_CA_FILE: caFile, MTLS_BASE_URL: given } = values;
  if (port > 0) {
    const own = new URL(issuer);
    own.port = String(port);
    const source = Object.freeze({ kind: 'port', port, caFile } as const);
    return Object.freeze({ baseUrl: given ?? own.origin, verifiesChains: caFile !== undefined, source });
  }
  if (given === undefined) return undefined;
  const { CLIENT_CERT_HEADER: certificate, CLIENT_CERT_VERIFIED_HEADER: verified } = values;
  const source = Object.freeze({ kind: 'header', certificate, verified } as const);
  return Object.freeze({ baseUrl: given, verifiesChains: verified !== undefined, source });
}
