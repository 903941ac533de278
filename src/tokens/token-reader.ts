import type { ArtifactKind, ArtifactPayload, ArtifactStore } from './artifact.ts';
import type { ArtifactCache } from './artifact-cache.ts';
import { keyOf, type StoredRow } from './artifact-row.ts';

/** As what a presented value may be found. A value is random, so that it is one of them at the most. */
const TOKEN_KINDS: readonly ArtifactKind[] = ['AccessToken', 'ClientCredentials', 'RefreshToken'];

/**
 * The view of one request that verifies a token: the first look-up brings all that the others will ask for, out of the
 * cache or in one statement.
 *
 * @param parts.load by key, what has these keys, and of tokens the grants and sessions
 * @param parts.loadSession by `uid`
 * @param parts.decode the payload of a row for whoever presented `id`; undefined where it is past its retention
 * @param parts.find for kinds that verify no token
 */
export function createTokenReader(parts: {
  cache: ArtifactCache;
  load(keys: readonly string[]): Promise<ReadonlyMap<string, StoredRow>>;
  loadSession(uid: string): Promise<StoredRow | undefined>;
  decode(row: StoredRow | undefined, id?: string): ArtifactPayload | undefined;
  find: ArtifactStore['find'];
}): Pick<ArtifactStore, 'find' | 'findByUid' | 'hasKey'> {
  const { cache, load, decode } = parts;
  let presented: { value: string; row: Promise<StoredRow | undefined> } | undefined;
  /** What came with the token; its age is that of the request. */
  let companions: ReadonlyMap<string, StoredRow> | undefined;

  async function findToken(value: string): Promise<StoredRow | undefined> {
    const keys = TOKEN_KINDS.map((kind) => keyOf(kind, value));
    const held = cache.find(keys);
    if (held !== undefined) return held;
    companions = await load(keys);
    for (const key of keys) {
      const row = companions.get(key);
      if (row !== undefined) return row;
    }
    return undefined;
  }

  async function findByKey(key: string): Promise<StoredRow | undefined> {
    return companions?.get(key) ?? cache.find([key]) ?? (await load([key])).get(key);
  }

  return {
    async find(kind: ArtifactKind, id: string) {
      if (kind === 'Grant') return decode(await findByKey(keyOf(kind, id)), id);
      if (!TOKEN_KINDS.includes(kind)) return parts.find(kind, id);
      // The library asks for every kind in the same moment.
      if (presented?.value !== id) presented = { value: id, row: findToken(id) };
      const row = await presented.row;
      return row?.kind === kind ? decode(row, id) : undefined;
    },
    hasKey: async (key: string) => decode(await findByKey(key)) !== undefined,
    async findByUid(uid: string) {
      return decode(companions?.get(uid) ?? cache.find([uid]) ?? (await parts.loadSession(uid)));
    },
  };
}
