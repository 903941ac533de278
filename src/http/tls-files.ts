import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { reasonOf } from '../errors.ts';
import { unusableSetting } from './unusable-setting.ts';

/** Paths of PEM files. */
export type TlsFiles = Readonly<{
  certFile: string;
  keyFile: string;
  /** Authorities of clients' certificates. */
  clientCaFile?: string | undefined;
}>;

/** What the files held, checked. */
export type TlsMaterial = Readonly<{
  /** The server's certificate, and those between it and its authority. */
  cert: Buffer;
  key: Buffer;
  clientCa: Buffer | undefined;
  /** Of the server's own certificate. */
  subject: string;
  validUntil: Date;
}>;

const CERTIFICATES = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * Reads the certificate and key of the server, and the authorities of its clients.
 *
 * @param now epoch milliseconds
 * @throws {AppError} `configuration`, with one line that names the setting and what it wants: for a file that can't be read,
 *   isn't what it should be, holds a certificate that is out of date, or a key that isn't its own
 */
export async function readTlsFiles(files: TlsFiles, now: number): Promise<TlsMaterial> {
  const cert = await read('TLS_CERT_FILE', files.certFile);
  const [certificate] = parseCertificates('TLS_CERT_FILE', cert);
  checkValidity(certificate, now);
  const key = await read('TLS_KEY_FILE', files.keyFile);
  if (!certificate.checkPrivateKey(parseKey(key))) {
    throw unusableSetting('TLS_KEY_FILE wants the private key of the first certificate in TLS_CERT_FILE');
  }
  const clientCa = files.clientCaFile === undefined ? undefined : await read('MTLS_CA_FILE', files.clientCaFile);
  if (clientCa !== undefined) checkRoots(parseCertificates('MTLS_CA_FILE', clientCa));
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    throw unusableSetting(`TLS_CERT_FILE wants certificates that OpenSSL accepts: ${reasonOf(error)}`, error);
  }
  return { cert, key, clientCa, subject: oneLine(certificate.subject), validUntil: certificate.validToDate };
}

async function read(setting: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw unusableSetting(`${setting} wants a file that can be read: ${reasonOf(error)}`, error);
  }
}

function parseCertificates(setting: string, content: Buffer): [X509Certificate, ...X509Certificate[]] {
  try {
    const [first, ...others] = (content.toString('latin1').match(CERTIFICATES) ?? []).map(
      (text) => new X509Certificate(text),
    );
    if (first !== undefined) return [first, ...others];
  } catch {
    // Told below, as an empty file is.
  }
  throw unusableSetting(
    `${setting} wants certificates in PEM${setting === 'TLS_CERT_FILE' ? ', that of the server first' : ''}`,
  );
}

function parseKey(content: Buffer): KeyObject {
  try {
    return createPrivateKey(content);
  } catch (cause) {
    throw unusableSetting('TLS_KEY_FILE wants a private key in PEM, without a passphrase', cause);
  }
}

function checkValidity({ validFromDate, validToDate }: X509Certificate, now: number): void {
  if (validToDate.getTime() <= now) {
    throw unusableSetting(
      `TLS_CERT_FILE wants a certificate that is valid: it expired at ${validToDate.toISOString()}`,
    );
  }
  if (validFromDate.getTime() > now) {
    throw unusableSetting(
      `TLS_CERT_FILE wants a certificate that is valid: it begins at ${validFromDate.toISOString()}`,
    );
  }
}

/** Node's servers believe a chain only up to its root: without that one, nobody's certificate would ever be known. */
function checkRoots(authorities: readonly X509Certificate[]): void {
  const rootless = authorities.find((authority) => !authorities.some((above) => authority.checkIssued(above)));
  if (rootless === undefined) return;
  throw unusableSetting(
    `MTLS_CA_FILE wants, beside ${oneLine(rootless.subject)}, the authority above it, up to the root`,
  );
}

/** Node puts each part of a name on a line. */
function oneLine(subject: string): string {
  return subject.split('\n').join(', ');
}
