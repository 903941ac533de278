import { constants } from 'node:crypto';
import type { ServerOptions } from 'node:https';
import type { TlsMaterial } from './tls-files.ts';

/**
 * TLS 1.3, and of 1.2 what has forward secrecy and AES-GCM alone, as FAPI 2.0 has it (Security Profile, section 5.2.2; RFC 9325,
 * section 4.2). Among equals the client chooses: it knows whether its processor has AES.
 */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
].join(':');

/** Who takes longer to say hello wants to hold a connection. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/**
 * How a port speaks TLS.
 *
 * @param options.asksForCertificate whether clients are asked for a certificate. None is refused for having none or an unknown
 *   one: that is for the protocol to say, client by client (RFC 8705, section 2.2)
 */
export function tlsOptions(
  { cert, key, clientCa }: TlsMaterial,
  { asksForCertificate }: { asksForCertificate: boolean },
): ServerOptions {
  const options = {
    cert,
    key,
    minVersion: 'TLSv1.2',
    ciphers: CIPHERS,
    honorCipherOrder: false,
    ecdhCurve: 'auto',
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    // No session is resumed. It would not be verified again, so that a client's certificate were good beyond its end; and the key
    // of the tickets, as old as the process, would undo forward secrecy (RFC 9325, section 3.4).
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_TICKET,
  } as const;
  if (!asksForCertificate) return options;
  return {
    ...options,
    requestCert: true,
    rejectUnauthorized: false,
    // Without any, Node would take the public ones of the web for authorities of clients.
    ca: clientCa ?? [],
  };
}
