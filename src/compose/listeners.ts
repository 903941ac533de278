import type { RequestListener } from 'node:http';
import type { Clock, Config } from '../config/index.ts';
import {
  createListener,
  type Listener,
  readTlsFiles,
  type TlsFiles,
  type TlsMaterial,
  tlsOptions,
  watchTlsFiles,
} from '../http/index.ts';
import type { Logger } from '../telemetry/index.ts';

/**
 * The ports on which requests come in: PORT, and MTLS_PORT where there is one. Where this server ends TLS, both take over
 * renewed files by themselves.
 *
 * @throws {AppError} `configuration` where the TLS files can't be used
 */
export async function composeListeners(
  config: Pick<Config, 'hosts' | 'port' | 'tls' | 'mtls'>,
  { handler, clock, logger }: { handler: RequestListener; clock: Clock; logger: Logger },
): Promise<Pick<Listener, 'listen' | 'drain'>> {
  const { hosts, port, mtls } = config;
  const files = tlsFilesOf(config);
  if (files === undefined) return createListener(handler, { hosts, port });
  const source = mtls?.source.kind === 'port' ? mtls.source : undefined;
  const current = await readTlsFiles(files, clock());
  const forAll = { asksForCertificate: false };
  const forCertificates = { asksForCertificate: true };
  const listener = createListener(handler, { hosts, port, tls: tlsOptions(current, forAll) });
  const certificateListener =
    source &&
    createListener(handler, {
      hosts,
      port: source.port,
      setting: 'MTLS_PORT',
      tls: tlsOptions(current, forCertificates),
    });
  const watch = watchTlsFiles({
    files,
    current,
    apply(material) {
      listener.renew(tlsOptions(material, forAll));
      certificateListener?.renew(tlsOptions(material, forCertificates));
    },
    clock,
    logger,
  });
  return {
    async listen() {
      await certificateListener?.listen();
      return listener.listen();
    },
    async drain(timeoutSeconds) {
      watch.stop();
      await Promise.all([listener.drain(timeoutSeconds), certificateListener?.drain(timeoutSeconds)]);
    },
  };
}

/**
 * The TLS files as they are now; undefined where this server speaks http.
 *
 * @throws {AppError} `configuration` where they can't be used
 */
export async function readOwnTlsFiles(
  config: Pick<Config, 'tls' | 'mtls'>,
  clock: Clock,
): Promise<Pick<TlsMaterial, 'subject' | 'validUntil'> | undefined> {
  const files = tlsFilesOf(config);
  return files && readTlsFiles(files, clock());
}

function tlsFilesOf({ tls, mtls }: Pick<Config, 'tls' | 'mtls'>): TlsFiles | undefined {
  return tls && { ...tls, clientCaFile: mtls?.source.kind === 'port' ? mtls.source.caFile : undefined };
}
