import { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Middleware } from 'koa';
import type { Clock, Config } from '../config/index.ts';
import { trustsPeer } from './own-address.ts';

/** The certificate that a client has proven to have the key of. */
type ClientCertificate = Readonly<{
  certificate: X509Certificate;
  /** Whether it is valid at this moment, and comes from an authority that clients' certificates are taken from. */
  isVerified: boolean;
}>;

export type ClientCertificates = Readonly<{
  /** Keeps what a trusted proxy says of the certificate for `of`, and takes the headers away. Comes before everything else. */
  receive: Middleware;
  of(request: IncomingMessage): ClientCertificate | undefined;
}>;

/** What a proxy says where it has verified the chain: nginx's `$ssl_client_verify`. */
const VERIFIED = 'SUCCESS';

/** RFC 9440, section 2.1: a byte sequence of structured fields (RFC 8941, section 3.3.5). */
const BYTE_SEQUENCE = /^:([A-Za-z0-9+/]+={0,2}):$/;
/** One alone: with several it would be for chance to say which is meant. */
const PEM = /^-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*$/;

/**
 * Finds the certificates of clients, at one place alone: in the TLS connection where this server asks for them, else in the
 * headers of trusted proxies. There, a header that comes twice counts as none: one of the two may be a stranger's.
 */
export function createClientCertificates(
  { mtls, trustedProxies }: Pick<Config, 'mtls' | 'trustedProxies'>,
  { clock }: { clock: Clock },
): ClientCertificates {
  if (mtls === undefined) return { receive: (_context, next) => next(), of: () => undefined };
  const { source, verifiesChains } = mtls;
  const find =
    source.kind === 'port'
      ? { of: certificateOfConnection, receive: () => undefined }
      : headerReader(source, trustsPeer(trustedProxies));

  return {
    receive(context, next) {
      find.receive(context.req);
      return next();
    },
    of(request) {
      const found = find.of(request);
      if (found === undefined) return undefined;
      const { certificate } = found;
      const isFromAuthority = found.isFromAuthority && !outdatedConnections.has(request.socket);
      const now = clock();
      // Looked at again, because a connection may outlive the certificate that it began with.
      const isValid = certificate.validFromDate.getTime() <= now && now < certificate.validToDate.getTime();
      return { certificate, isVerified: verifiesChains && isFromAuthority && isValid };
    },
  };
}

type Found = Readonly<{ certificate: X509Certificate; isFromAuthority: boolean }>;

/** Connections from before the authorities changed: what was verified then says nothing of now. */
export const outdatedConnections = new WeakSet<Socket>();

/** By connection: many requests come over one. */
const ofConnections = new WeakMap<TLSSocket, Found>();

function certificateOfConnection({ socket }: IncomingMessage): Found | undefined {
  if (!(socket instanceof TLSSocket)) return undefined;
  const known = ofConnections.get(socket);
  if (known !== undefined) return known;
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return undefined;
  const found = { certificate, isFromAuthority: socket.authorized };
  ofConnections.set(socket, found);
  return found;
}

function headerReader(
  names: { certificate: string; verified: string | undefined },
  isTrusted: (address: string | undefined) => boolean,
) {
  const received = new WeakMap<IncomingMessage, { value: string; isFromAuthority: boolean }>();
  return {
    receive(request: IncomingMessage): void {
      const value = single(request, names.certificate);
      const verdict = names.verified === undefined ? undefined : single(request, names.verified);
      if (value !== undefined && isTrusted(request.socket.remoteAddress)) {
        received.set(request, { value, isFromAuthority: verdict === VERIFIED });
      }
      delete request.headers[names.certificate];
      if (names.verified !== undefined) delete request.headers[names.verified];
    },
    of(request: IncomingMessage): Found | undefined {
      const { value, isFromAuthority = false } = received.get(request) ?? {};
      const certificate = value === undefined ? undefined : parseCertificate(value);
      return certificate && { certificate, isFromAuthority };
    },
  };
}

function single(request: IncomingMessage, name: string): string | undefined {
  if (request.headers[name] === undefined) return undefined;
  const values = request.headersDistinct[name] ?? [];
  return values.length === 1 ? values[0] : undefined;
}

/** RFC 9440, or PEM as it stands or percent-encoded (nginx's `$ssl_client_escaped_cert`). */
function parseCertificate(value: string): X509Certificate | undefined {
  try {
    const der = BYTE_SEQUENCE.exec(value)?.[1];
    if (der !== undefined) return new X509Certificate(Buffer.from(der, 'base64'));
    const pem = value.includes('%') ? decodeURIComponent(value) : value;
    return PEM.test(pem) ? new X509Certificate(withLines(pem)) : undefined;
  } catch {
    return undefined;
  }
}

/** A header has no line breaks: some proxies write spaces in their place. */
function withLines(pem: string): string {
  const body = pem.replace(/-----[A-Z ]+-----/g, '').replace(/\s/g, '');
  return `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`;
}
