import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createKeyWrapper } from '../../../src/keys/index.ts';
import { HOUR, type KeyNodes, openKeyNodes } from './key-nodes.ts';

let nodes: KeyNodes;
beforeEach(async () => {
  nodes = await openKeyNodes();
});
afterEach(() => nodes.close());

const rows = () => nodes.database.database.knex('signing_keys').orderBy('kid');

describe('sealing anew', () => {
  test('under a new key in front: afterwards the old one can go', async () => {
    const [older, newer] = [nodes.keyEncryptionKey, Buffer.alloc(32, 7)];
    const before = nodes.node();
    await before.ensure();
    await before.rotate({ algorithm: 'ES256', now: true });
    await before.revoke(await nodes.kidOf('ES256', 'retired'), {});
    const [stored, opened] = [await rows(), await before.load()];
    expect(await nodes.node({ keyEncryptionKeys: [newer, older] }).reseal()).toBe(2);
    const after = await rows();
    for (const [index, row] of after.entries()) {
      const old = stored[index];
      expect(row.kid).toBe(old?.kid);
      const isSealed = row.state !== 'revoked';
      expect(row.version).toBe(old?.version + (isSealed ? 1 : 0));
      expect(row.sealed_private_jwk === old?.sealed_private_jwk).toBe(!isSealed);
      expect(row.key_encryption_key_id === old?.key_encryption_key_id).toBe(!isSealed);
    }
    expect(await nodes.node({ keyEncryptionKeys: [newer] }).load()).toEqual(opened);
  });

  test('writes nothing where a key can not be opened', async () => {
    await nodes.node().ensure();
    await nodes.database.database.knex('signing_keys').where({ algorithm: 'ES256' }).update({ version: 9 });
    const before = await rows();
    await expect(nodes.node().reseal()).rejects.toMatchObject({ code: 'server_error' });
    await expect(nodes.node({ keyEncryptionKeys: [Buffer.alloc(32, 7)] }).reseal()).rejects.toMatchObject({
      code: 'configuration',
    });
    expect(await rows()).toEqual(before);
  });

  test('writes over nothing that another has sealed anew or revoked meanwhile', async () => {
    await nodes.node().ensure();
    const wrapper = createKeyWrapper({ keyEncryptionKeys: [nodes.keyEncryptionKey] });
    const [reached, goesOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const wrap: typeof wrapper.wrap = async (...args) => {
      reached.resolve();
      await goesOn.promise;
      return wrapper.wrap(...args);
    };
    const late = nodes.node({ wrapper: { ...wrapper, wrap } }).reseal();
    await reached.promise;
    await nodes.node().revoke(await nodes.kidOf('ES256', 'active'), { now: true });
    expect(await nodes.node().reseal()).toBe(2);
    const before = await rows();
    goesOn.resolve();
    expect(await late).toBe(0);
    expect(await rows()).toEqual(before);
  });

  test('a seal of an earlier version does not open in the place of a later one', async () => {
    await nodes.node().ensure();
    const [before] = await rows();
    await nodes.node().reseal();
    const { version, ...sealed } = before;
    await nodes.database.database.knex('signing_keys').where({ kid: before.kid }).update(sealed);
    await expect(nodes.node().load()).rejects.toMatchObject({ code: 'server_error' });
  });
});

test('keys that were opened are used on while nothing can be opened any more', async () => {
  const wrapper = createKeyWrapper({ keyEncryptionKeys: [nodes.keyEncryptionKey] });
  let isAway = false;
  const unwrap: typeof wrapper.unwrap = async (...args) => {
    if (isAway) throw new Error('away');
    return wrapper.unwrap(...args);
  };
  const keys = nodes.node({ wrapper: { ...wrapper, unwrap } });
  await keys.ensure();
  await keys.rotate({});
  const before = await keys.load();
  isAway = true;
  expect(await keys.load()).toEqual(before);
  await nodes.pass(14 * HOUR);
  expect(await keys.rotate({})).toMatchObject({ ok: true });
  expect((await keys.load()).privateJwks).toHaveLength(4);
  // Another node can: it makes a key, revokes one, seals all anew. This one takes over what it can, and tells the rest.
  const other = nodes.node();
  await other.rotate({ algorithm: 'ES256' });
  const revoked = await nodes.kidOf('ES256', 'retired');
  await other.revoke(revoked, {});
  await other.reseal();
  await expect(keys.load()).rejects.toThrow('away');
  const { publicJwks, algorithms, fault } = await keys.loadAvailable();
  const [active, retired] = [await nodes.kidOf('ES256', 'active'), await nodes.kidOf('RS256', 'retired')];
  expect(publicJwks.map(({ kid }) => kid).sort()).toEqual(
    [active, retired, await nodes.kidOf('RS256', 'active')].sort(),
  );
  expect(algorithms).toHaveLength(2);
  expect(fault).toMatchObject({ message: 'away' });
  isAway = false;
  expect(await keys.load()).toEqual(await other.load());
});
