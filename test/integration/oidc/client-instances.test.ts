import { describe, expect, test } from '@jest/globals';
import { type AdapterPayload, Provider } from 'oidc-provider';
import type { RegisteredClient } from '../../../src/clients/index.ts';
import { keepClientInstances } from '../../../src/oidc/client-instances.ts';

function startProvider() {
  const registry = new Map<string, RegisteredClient>();
  const state = { isAway: false, isAwayForLibrary: false };
  const find = async (id: string) => {
    if (state.isAway) throw Object.assign(new Error('away'), { code: 'ECONNREFUSED' });
    return registry.get(id);
  };
  const refuse = async () => {
    throw new Error('not asked here');
  };
  const provider = new Provider('http://localhost', {
    adapter: () => ({
      async find(id) {
        if (state.isAwayForLibrary) throw new Error('away');
        return (await find(id))?.metadata as AdapterPayload | undefined;
      },
      findByUid: refuse,
      findByUserCode: refuse,
      upsert: refuse,
      consume: refuse,
      destroy: refuse,
      revokeByGrantId: refuse,
    }),
  });
  keepClientInstances(provider, { find }, { described: undefined, holdTo: () => undefined });
  const register = (id: string, clientName: string) =>
    registry.set(id, {
      id,
      metadata: {
        client_id: id,
        client_name: clientName,
        client_secret: 'secret',
        redirect_uris: ['https://a.example/cb'],
      },
    } as unknown as RegisteredClient);
  return { provider, registry, register, state };
}

describe('what the library makes of a client', () => {
  test('is kept, however many other clients are in use', async () => {
    const { provider, register } = startProvider();
    const ids = Array.from({ length: 300 }, (_, index) => `client-${index}`);
    for (const id of ids) register(id, id);
    const made = await Promise.all(ids.map((id) => provider.Client.find(id)));
    expect(made.map((client) => client?.clientId)).toEqual(ids);
    const again = await Promise.all(ids.map((id) => provider.Client.find(id)));
    expect(again.every((client, index) => client === made[index])).toBe(true);
  });

  test('is made once, however many ask at the same time, and again after that failed', async () => {
    const { provider, register, state } = startProvider();
    register('a', 'a');
    const asked = await Promise.all([1, 2, 3].map(() => provider.Client.find('a')));
    expect(new Set(asked).size).toBe(1);
    register('b', 'b');
    state.isAwayForLibrary = true;
    await expect(provider.Client.find('b')).rejects.toThrow('away');
    state.isAwayForLibrary = false;
    expect((await provider.Client.find('b'))?.clientName).toBe('b');
  });

  test('is made anew when the registry gives another one, and gone when there is none', async () => {
    const { provider, registry, register } = startProvider();
    register('a', 'before');
    expect((await provider.Client.find('a'))?.clientName).toBe('before');
    register('a', 'after');
    expect((await provider.Client.find('a'))?.clientName).toBe('after');
    registry.delete('a');
    expect(await provider.Client.find('a')).toBeUndefined();
  });

  test('is not given while the registry can not be asked', async () => {
    const { provider, register, state } = startProvider();
    register('a', 'a');
    await provider.Client.find('a');
    state.isAway = true;
    await expect(provider.Client.find('a')).rejects.toMatchObject({ error: 'temporarily_unavailable', status: 503 });
  });

  test('is nothing for what is no client id', async () => {
    const { provider } = startProvider();
    expect(await provider.Client.find(undefined as unknown as string)).toBeUndefined();
    expect(await provider.Client.find('')).toBeUndefined();
  });
});
