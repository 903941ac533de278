import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createKeyWrapper } from '../../../src/keys/index.ts';
import { HOUR, type KeyNodes, openKeyNodes } from './key-nodes.ts';

let nodes: KeyNodes;
beforeEach(async () => {
  nodes = await openKeyNodes();
});
afterEach(() => nodes.close());

const rows = () => nodes.database.database.knex('signing_keys').orderBy('kid');
const publishedKids = async (keys: ReturnType<KeyNodes['node']>) =>
  (await keys.load()).publicJwks.map(({ kid }) => kid);

describe('the life cycle of a key', () => {
  test('next, active, retired, gone: each step when it is due, recorded, and none before', async () => {
    const keys = nodes.node({ policy: { algorithms: ['RS256'] } });
    await keys.ensure();
    const first = await nodes.kidOf('RS256', 'active');
    await nodes.pass(76 * HOUR - 60);
    await keys.advance();
    expect(await nodes.states()).toEqual(['RS256 active']);
    await nodes.pass(60);
    await keys.advance();
    expect(await nodes.states()).toEqual(['RS256 active', 'RS256 next']);
    const second = await nodes.kidOf('RS256', 'next');
    await nodes.pass(14 * HOUR - 60);
    await keys.advance();
    expect(await nodes.kidOf('RS256', 'active')).toBe(first);
    await nodes.pass(60);
    await keys.advance();
    expect(await nodes.kidOf('RS256', 'active')).toBe(second);
    expect(await nodes.kidOf('RS256', 'retired')).toBe(first);
    expect(await publishedKids(keys)).toEqual([second, first]);
    await nodes.pass(15 * HOUR - 60);
    await keys.advance();
    expect(await nodes.states()).toEqual(['RS256 active', 'RS256 retired']);
    await nodes.pass(60);
    await keys.advance();
    expect(await nodes.states()).toEqual(['RS256 active']);
    expect(await publishedKids(keys)).toEqual([second]);
    expect(await nodes.eventsOf(first)).toEqual(['key.created', 'key.retired', 'key.removed']);
    expect(await nodes.eventsOf(second)).toEqual(['key.created', 'key.activated']);
  });

  test('what nobody looked at for a year is made good step by step, and no key signs unannounced', async () => {
    const keys = nodes.node({ policy: { algorithms: ['RS256'] } });
    await keys.ensure();
    await nodes.pass(9_000 * HOUR);
    await keys.advance();
    await keys.advance();
    expect(await nodes.states()).toEqual(['RS256 active', 'RS256 next']);
    await nodes.pass(14 * HOUR);
    await keys.advance();
    expect(await nodes.states()).toEqual(['RS256 active', 'RS256 retired']);
  });

  test('every change is told to the other nodes, and looking without one tells nothing', async () => {
    const { knex } = nodes.database.database;
    const keys = nodes.node();
    const revision = async () => Number((await knex('revisions').where({ topic: 'keys' }).first())?.revision ?? 0);
    const steps = [
      () => keys.ensure(),
      () => keys.rotate({}),
      () => nodes.pass(14 * HOUR).then(() => keys.rotate({})),
      () => nodes.pass(15 * HOUR).then(() => keys.advance()),
      async () => keys.revoke(await nodes.kidOf('RS256', 'active'), { now: true }),
      () => keys.reseal(),
    ];
    for (const step of steps) {
      const before = await revision();
      await step();
      expect(await revision()).toBe(before + 1);
    }
    // Refused, but it announces what is not announced yet.
    await keys.rotate({});
    const before = await revision();
    await keys.advance();
    await keys.ensure();
    await keys.rotate({});
    expect(await revision()).toBe(before);
  });

  test('what needs no new key is done while nothing can be wrapped; what can not be made is told and made later', async () => {
    const local = createKeyWrapper({ keyEncryptionKeys: [nodes.keyEncryptionKey] });
    let isAway = false;
    const wrap: typeof local.wrap = (dataKey, context) => {
      if (isAway) throw new Error('away');
      return local.wrap(dataKey, context);
    };
    const keys = nodes.node({ wrapper: { ...local, wrap } });
    await keys.ensure();
    await nodes.pass(90 * HOUR);
    await keys.rotate({ algorithm: 'ES256' });
    expect(await nodes.states()).toEqual(['ES256 active', 'ES256 next', 'RS256 active']);
    await nodes.pass(14 * HOUR);
    isAway = true;
    await expect(keys.advance()).rejects.toThrow('away');
    expect(await nodes.states()).toEqual(['ES256 active', 'ES256 retired', 'RS256 active']);
    isAway = false;
    await keys.advance();
    expect(await nodes.states()).toEqual(['ES256 active', 'ES256 retired', 'RS256 active', 'RS256 next']);
  });

  test('an algorithm that is added to a running fleet signs only after its announcement', async () => {
    await nodes.node().ensure();
    const keys = nodes.node({ policy: { algorithms: ['RS256', 'ES256', 'PS256', 'EdDSA'] } });
    await keys.ensure();
    expect(await nodes.states()).toEqual(['ES256 active', 'RS256 active']);
    await keys.advance();
    expect(await nodes.states()).toEqual(['ES256 active', 'EdDSA next', 'PS256 next', 'RS256 active']);
    expect((await keys.load()).algorithms).toEqual(expect.not.arrayContaining(['EdDSA', 'PS256']));
    await nodes.pass(14 * HOUR);
    await keys.advance();
    expect([...(await keys.load()).algorithms].sort()).toEqual(['ES256', 'EdDSA', 'PS256', 'RS256']);
  });

  test('an algorithm that is taken away retires, but not while something is registered for it', async () => {
    await nodes.node().ensure();
    const policy = { algorithms: ['RS256'] as const };
    await nodes.node({ policy, inUse: ['RS256', 'ES256'] }).advance();
    expect(await nodes.states()).toEqual(['ES256 active', 'RS256 active']);
    await nodes.node({ policy }).advance();
    expect(await nodes.states()).toEqual(['ES256 retired', 'RS256 active']);
  });
});

describe('rotating by hand', () => {
  test('announces a key where there is none, and says how long is left', async () => {
    const keys = nodes.node();
    await keys.ensure();
    expect(await keys.rotate({ algorithm: 'ES256' })).toMatchObject({
      ok: false,
      code: 'too_early',
      secondsLeft: 14 * HOUR,
      reason: expect.stringMatching(
        /^announced just now: ES256; .* ES256 in 14 h \(at 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\); --now/,
      ),
    });
    expect(await nodes.states()).toEqual(['ES256 active', 'ES256 next', 'RS256 active']);
    await nodes.pass(14 * HOUR - 30);
    const again = await keys.rotate({ algorithm: 'ES256' });
    expect(again).toMatchObject({ ok: false, code: 'too_early', reason: expect.stringMatching(/^announced keys/) });
    expect('secondsLeft' in again && again.secondsLeft).toBeGreaterThan(20);
    expect('secondsLeft' in again && again.secondsLeft).toBeLessThanOrEqual(30);
  });

  test('takes the announced key when it was announced for long enough, due or not', async () => {
    const keys = nodes.node();
    await keys.ensure();
    await keys.rotate({});
    const [active, next] = [await nodes.kidOf('RS256', 'active'), await nodes.kidOf('RS256', 'next')];
    await nodes.pass(14 * HOUR);
    const rotation = await keys.rotate({});
    expect(rotation).toMatchObject({ ok: true });
    expect('rotated' in rotation && rotation.rotated).toContainEqual({
      algorithm: 'RS256',
      kid: next,
      replacedKid: active,
    });
    expect(await nodes.states()).toEqual(['ES256 active', 'ES256 retired', 'RS256 active', 'RS256 retired']);
  });

  test('all algorithms or none', async () => {
    const keys = nodes.node();
    await keys.ensure();
    await keys.rotate({ algorithm: 'RS256' });
    await nodes.pass(14 * HOUR);
    expect(await keys.rotate({})).toMatchObject({ ok: false, reason: expect.not.stringContaining('RS256') });
    expect(await nodes.states()).toEqual(['ES256 active', 'ES256 next', 'RS256 active', 'RS256 next']);
    expect(await keys.rotate({ algorithm: 'RS256' })).toMatchObject({ ok: true });
  });

  test('now: as often as asked; a key is published for a second before it signs', async () => {
    const keys = nodes.node();
    await keys.ensure();
    const kids = new Set([await nodes.kidOf('ES256', 'active')]);
    for (let round = 1; round <= 2; round += 1) {
      expect(await keys.rotate({ algorithm: 'ES256', now: true })).toMatchObject({ ok: true });
      const active = (await keys.list()).find(({ algorithm, state }) => algorithm === 'ES256' && state === 'active');
      kids.add(active?.kid ?? '');
      const publishedMs = Number(active?.activatedAt) - Number(active?.announcedAt);
      expect(publishedMs).toBeGreaterThanOrEqual(1_000);
      expect(kids.size).toBe(round + 1);
    }
    expect(await nodes.states()).toEqual(['ES256 active', ...Array(2).fill('ES256 retired'), 'RS256 active']);
  });

  test('an algorithm that nobody offers is refused, named', async () => {
    const keys = nodes.node();
    await keys.ensure();
    for (const algorithm of ['EdDSA', 'HS256', '']) {
      expect(await keys.rotate({ algorithm, now: true })).toEqual({
        ok: false,
        code: 'not_found',
        reason: expect.stringMatching(/^SIGNING_ALGORITHMS does not name .*RS256, ES256/),
      });
    }
    expect(await nodes.states()).toEqual(['ES256 active', 'RS256 active']);
  });
});

describe('revoking', () => {
  test('a key that does not sign leaves at once; its private part is destroyed and its name never comes back', async () => {
    const keys = nodes.node();
    await keys.ensure();
    await keys.rotate({ algorithm: 'ES256', now: true });
    await keys.rotate({ algorithm: 'ES256' });
    for (const state of ['retired', 'next']) {
      const kid = await nodes.kidOf('ES256', state);
      const active = await nodes.kidOf('ES256', 'active');
      expect(await keys.revoke(kid, {})).toEqual({ ok: true, kid, algorithm: 'ES256', signingKid: active });
      expect(await publishedKids(keys)).not.toContain(kid);
      expect((await rows()).find((row) => row.kid === kid)).toMatchObject({
        state: 'revoked',
        sealed_private_jwk: '',
        wrapped_data_key: '',
        revoked_at: expect.any(Date),
      });
      expect((await nodes.eventsOf(kid)).at(-1)).toBe('key.revoked');
      expect(await keys.revoke(kid, { now: true })).toMatchObject({ ok: true });
      expect(await nodes.eventsOf(kid)).toHaveLength(state === 'next' ? 2 : 3);
    }
    await nodes.pass(100_000 * HOUR);
    await keys.advance();
    expect(await nodes.states()).toEqual(expect.arrayContaining(['ES256 revoked', 'ES256 revoked']));
  });

  test('the key that signs is kept until the announced one may follow it, and one is announced', async () => {
    const keys = nodes.node();
    await keys.ensure();
    const active = await nodes.kidOf('RS256', 'active');
    expect(await keys.revoke(active, {})).toEqual({
      ok: false,
      code: 'too_early',
      secondsLeft: 14 * HOUR,
      reason: expect.stringMatching(
        /the key that was announced just now may .* in 14 h \(at 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\); --now/,
      ),
    });
    expect(await keys.revoke(active, {})).toMatchObject({
      reason: expect.stringContaining('and the announced key may'),
    });
    const next = await nodes.kidOf('RS256', 'next');
    await nodes.pass(14 * HOUR);
    expect(await keys.revoke(active, {})).toEqual({ ok: true, kid: active, algorithm: 'RS256', signingKid: next });
    expect(await nodes.states()).toEqual(['ES256 active', 'RS256 active', 'RS256 revoked']);
    expect(await nodes.eventsOf(active)).toEqual(['key.created', 'key.revoked']);
  });

  test('now: the announced key follows, else a new one', async () => {
    const keys = nodes.node();
    await keys.ensure();
    await keys.rotate({ algorithm: 'ES256' });
    for (const announced of [await nodes.kidOf('ES256', 'next'), undefined]) {
      const active = await nodes.kidOf('ES256', 'active');
      const revoked = await keys.revoke(active, { now: true });
      const signing = await nodes.kidOf('ES256', 'active');
      expect(revoked).toEqual({ ok: true, kid: active, algorithm: 'ES256', signingKid: announced ?? signing });
      expect(signing).not.toBe(active);
      expect(await publishedKids(keys)).not.toContain(active);
    }
  });

  test('now: a key that does not sign leaves while nothing can be wrapped', async () => {
    const keys = nodes.node();
    await keys.ensure();
    await keys.rotate({ now: true });
    const retired = await nodes.kidOf('RS256', 'retired');
    const wrapper = createKeyWrapper({ keyEncryptionKeys: [nodes.keyEncryptionKey] });
    const away = async () => {
      throw new Error('whatever wraps keys is away');
    };
    expect(await nodes.node({ wrapper: { ...wrapper, wrap: away } }).revoke(retired, { now: true })).toMatchObject({
      ok: true,
    });
    expect(await publishedKids(keys)).not.toContain(retired);
  });

  test('a key that nobody knows is not found', async () => {
    const keys = nodes.node();
    await keys.ensure();
    expect(await keys.revoke('nobody', { now: true })).toMatchObject({ ok: false, code: 'not_found' });
  });
});
