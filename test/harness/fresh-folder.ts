import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A fresh data directory; `remove` deletes it. Others may pass through, or root's database user couldn't reach it. */
export function freshFolder(name = 'data', parent = tmpdir()): { path: string; remove(): void } {
  const base = mkdtempSync(join(parent, 'tessera-embedded-'));
  chmodSync(base, 0o711);
  const path = join(base, name);
  mkdirSync(path, { recursive: true, mode: 0o711 });
  return { path, remove: () => rmSync(base, { recursive: true, force: true }) };
}
