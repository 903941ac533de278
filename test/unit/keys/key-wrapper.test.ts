import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { createKeyWrapper } from '../../../src/keys/index.ts';

const [older, newer] = [randomBytes(32), randomBytes(32)];

describe('wrapping data keys', () => {
  test('a data key comes back for what it was wrapped for, and for nothing else', async () => {
    const wrapper = createKeyWrapper({ keyEncryptionKeys: [newer] });
    const dataKey = randomBytes(32);
    const wrapped = await wrapper.wrap(dataKey, 'key a');
    expect(await wrapper.unwrap(wrapped, 'key a')).toEqual(dataKey);
    await expect(wrapper.unwrap(wrapped, 'key b')).rejects.toThrow('altered, or belongs to another');
  });

  test('the newest key wraps, each key opens what it has wrapped', async () => {
    const dataKey = randomBytes(32);
    const before = await createKeyWrapper({ keyEncryptionKeys: [older] }).wrap(dataKey, 'key');
    const both = createKeyWrapper({ keyEncryptionKeys: [newer, older] });
    const after = await both.wrap(dataKey, 'key');
    expect(await both.unwrap(before, 'key')).toEqual(dataKey);
    expect(await createKeyWrapper({ keyEncryptionKeys: [newer] }).unwrap(after, 'key')).toEqual(dataKey);
  });

  test('a key that is not held is a fault of the configuration, said in one line that names the variable', async () => {
    const wrapped = await createKeyWrapper({ keyEncryptionKeys: [older] }).wrap(randomBytes(32), 'key');
    const unwrapping = createKeyWrapper({ keyEncryptionKeys: [newer] }).unwrap(wrapped, 'key');
    await expect(unwrapping).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringMatching(/^KEY_ENCRYPTION_KEY does not fit [^\n]+ a key that they are sealed under$/),
    });
    const source = "the key in '/data/key'";
    const named = createKeyWrapper({ keyEncryptionKeys: [newer], source }).unwrap(wrapped, 'key');
    await expect(named).rejects.toThrow(`${source} does not fit this database`);
  });

  test('a wrapped key that names another key does not open under that one', async () => {
    const wrapper = createKeyWrapper({ keyEncryptionKeys: [newer, older] });
    const byOlder = await createKeyWrapper({ keyEncryptionKeys: [older] }).wrap(randomBytes(32), 'key');
    const byNewer = await wrapper.wrap(randomBytes(32), 'key');
    const mixed = { ...byOlder, keyEncryptionKeyId: byNewer.keyEncryptionKeyId };
    await expect(wrapper.unwrap(mixed, 'key')).rejects.toThrow('altered, or belongs to another');
  });

  test('the name of a key is short and shows nothing of it, not even its digest', async () => {
    const { keyEncryptionKeyId } = await createKeyWrapper({ keyEncryptionKeys: [newer] }).wrap(randomBytes(32), 'key');
    expect(keyEncryptionKeyId).toHaveLength(11);
    const digest = createHash('sha256').update(newer).digest('base64url');
    expect(newer.toString('base64url')).not.toContain(keyEncryptionKeyId.slice(0, 4));
    expect(digest).not.toContain(keyEncryptionKeyId.slice(0, 4));
  });

  test('no key and a key of another length are refused', () => {
    expect(() => createKeyWrapper({ keyEncryptionKeys: [] })).toThrow('KEY_ENCRYPTION_KEY');
    expect(() => createKeyWrapper({ keyEncryptionKeys: [newer, randomBytes(31)] })).toThrow('KEY_ENCRYPTION_KEY');
  });
});
