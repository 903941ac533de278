import type { Adapter, AdapterFactory, AdapterPayload } from 'oidc-provider';

/**
 * The ceiling: everything in one unbounded Map of the process, durable nowhere. What the library's own in-memory adapter
 * does, but for that one's limit of 1,000 entries. Payloads are kept as they are, as that adapter keeps them.
 */
export function createMapAdapter(): AdapterFactory {
  const entries = new Map<string, AdapterPayload>();
  const idsByGrant = new Map<string, Set<string>>();
  const idByUid = new Map<string, string>();
  const idByUserCode = new Map<string, string>();

  return (model): Adapter => {
    const keyOf = (id: string) => `${model}:${id}`;
    return {
      async upsert(id, payload) {
        const key = keyOf(id);
        entries.set(key, payload);
        if (payload.uid !== undefined) idByUid.set(payload.uid, key);
        if (payload.userCode !== undefined) idByUserCode.set(payload.userCode, key);
        if (payload.grantId === undefined) return;
        const siblings = idsByGrant.get(payload.grantId);
        if (siblings === undefined) idsByGrant.set(payload.grantId, new Set([key]));
        else siblings.add(key);
      },
      async find(id) {
        return entries.get(keyOf(id));
      },
      async findByUid(uid) {
        return entries.get(idByUid.get(uid) ?? '');
      },
      async findByUserCode(userCode) {
        return entries.get(idByUserCode.get(userCode) ?? '');
      },
      async consume(id) {
        const payload = entries.get(keyOf(id));
        if (payload !== undefined) payload.consumed = Math.floor(Date.now() / 1_000);
      },
      async destroy(id) {
        entries.delete(keyOf(id));
      },
      async revokeByGrantId(grantId) {
        for (const key of idsByGrant.get(grantId) ?? []) entries.delete(key);
        idsByGrant.delete(grantId);
      },
    };
  };
}
