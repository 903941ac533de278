import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Links that carry a hash of the content: cached for ever by browsers, replaced at once by a new release. */
export function createAssetLinks(directory: string): (name: string) => string {
  const links = new Map(
    readdirSync(directory).map((name) => {
      const hash = createHash('sha256')
        .update(readFileSync(join(directory, name)))
        .digest('base64url');
      return [name, `/assets/${name}?v=${hash.slice(0, 12)}`];
    }),
  );
  return (name) => {
    const link = links.get(name);
    if (link === undefined) throw new Error(`No asset "${name}"`);
    return link;
  };
}
