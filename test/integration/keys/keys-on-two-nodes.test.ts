import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { SigningKeys } from '../../../src/keys/index.ts';
import { HOUR, type KeyNodes, openKeyNodes } from './key-nodes.ts';

const ROUNDS = 4;

let nodes: KeyNodes;
beforeEach(async () => {
  nodes = await openKeyNodes();
});
afterEach(() => nodes.close());

async function kids(keys: SigningKeys): Promise<(string | undefined)[]> {
  return (await keys.load()).publicJwks.map(({ kid }) => kid);
}

describe('two nodes at once', () => {
  test('announce one key, let one sign, and end with the same set', async () => {
    const policy = { algorithms: ['RS256', 'ES256'] as const };
    const [first, second] = [nodes.node({ policy }), nodes.node({ policy })];
    await Promise.all([first.ensure(), second.ensure()]);
    for (let round = 1; round <= ROUNDS; round += 1) {
      await nodes.pass(76 * HOUR);
      await Promise.all([first.advance(), second.advance()]);
      await nodes.pass(14 * HOUR);
      await Promise.all([first.advance(), second.advance()]);
      const states = await nodes.states();
      expect(states.filter((state) => state.endsWith('active'))).toEqual(['ES256 active', 'RS256 active']);
      expect(states.filter((state) => state.endsWith('next'))).toEqual([]);
      expect(await kids(second)).toEqual(await kids(first));
      const { rows } = await nodes.database.database.knex.raw(
        `select count(*)::integer as count from audit_events where type = 'key.created'`,
      );
      expect(rows[0].count).toBe(2 * (round + 1));
    }
  });

  test('rotate by hand: one rotation, both are told the same', async () => {
    const [first, second] = [nodes.node(), nodes.node()];
    await first.ensure();
    for (let round = 0; round < ROUNDS / 2; round += 1) {
      const replacedKid = await nodes.kidOf('ES256', 'active');
      const options = { algorithm: 'ES256', now: true };
      const outcomes = await Promise.all([first.rotate(options), second.rotate(options)]);
      const kid = await nodes.kidOf('ES256', 'active');
      const outcome = { ok: true, rotated: [{ algorithm: 'ES256', kid, replacedKid }] };
      expect(outcomes).toEqual([outcome, outcome]);
      expect(await kids(second)).toEqual(await kids(first));
    }
  });

  test('revoke the same key: one takes its place', async () => {
    const [first, second] = [nodes.node(), nodes.node()];
    await first.ensure();
    for (let round = 0; round < ROUNDS; round += 1) {
      const kid = await nodes.kidOf('ES256', 'active');
      const outcomes = await Promise.all([first.revoke(kid, { now: true }), second.revoke(kid, { now: true })]);
      const signingKid = await nodes.kidOf('ES256', 'active');
      const outcome = { ok: true, kid, algorithm: 'ES256', signingKid };
      expect(outcomes).toEqual([outcome, outcome]);
    }
  });
});
