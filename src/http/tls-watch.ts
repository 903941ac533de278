import type { Clock } from '../config/index.ts';
import { reasonOf } from '../errors.ts';
import type { Logger } from '../telemetry/index.ts';
import { readTlsFiles, type TlsFiles, type TlsMaterial } from './tls-files.ts';

/** Certificates live for days at least: a few seconds later is soon enough. */
const INTERVAL_MS = 5_000;

export type TlsWatch = Readonly<{
  /** Looks now. Never throws: what is wrong is logged. */
  look(): Promise<void>;
  stop(): void;
}>;

/**
 * Looks at the files again and again, as their changes can't be heard of reliably: Kubernetes swaps a symbolic link two
 * levels up. Where what they hold is broken, or the two don't fit because only one was written yet, what was there before
 * stays, and an error is logged once.
 *
 * @param options.current what is in use
 * @param options.apply takes over what is new
 */
export function watchTlsFiles(options: {
  files: TlsFiles;
  current: TlsMaterial;
  apply(material: TlsMaterial): void;
  clock: Clock;
  logger: Logger;
  intervalMs?: number | undefined;
}): TlsWatch {
  const { files, apply, clock, logger, intervalMs = INTERVAL_MS } = options;
  let { current } = options;
  let looking: Promise<void> | undefined;
  let lastFault: string | undefined;

  async function look(): Promise<void> {
    try {
      const found = await readTlsFiles(files, clock());
      lastFault = undefined;
      if (isSame(found, current)) return;
      apply(found);
      current = found;
      logger.info({ subject: found.subject, validUntil: found.validUntil }, 'new TLS files are in use');
    } catch (error) {
      const fault = reasonOf(error);
      if (fault !== lastFault) logger.error({ reason: fault }, 'the TLS files can’t be used: those before stay in use');
      lastFault = fault;
    }
  }

  function lookOnce(): Promise<void> {
    looking ??= look().finally(() => {
      looking = undefined;
    });
    return looking;
  }

  const timer = setInterval(lookOnce, intervalMs).unref();
  return { look: lookOnce, stop: () => clearInterval(timer) };
}

function isSame(one: TlsMaterial, other: TlsMaterial): boolean {
  const contents = ({ cert, key, clientCa }: TlsMaterial) => [cert, key, clientCa ?? Buffer.alloc(0)];
  const others = contents(other);
  return contents(one).every((content, index) => others[index]?.equals(content));
}
