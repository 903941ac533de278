import { randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Clock } from '../../src/config/index.ts';
import { type ArtifactKind, type ArtifactPayload, type ArtifactStore, artifactKey } from '../../src/tokens/index.ts';
import { realisticArtifacts } from './realistic-artifacts.ts';

const HOUR = 3_600;
const DAY = 24 * HOUR;
const REPEATS = 20;
const COMPETITORS = 200;

/** 256 random bits, as the provider makes its values. */
export function randomValue(): string {
  return randomBytes(32).toString('base64url');
}

/**
 * The rules of an artifact store; every store passes them.
 *
 * @param makeStore is called once, when the tests run; the store must go by the clock given
 * @param ageRotation lets it be longer ago that a refresh token was rotated, where the leeway goes by another clock
 */
export function artifactStoreContract(
  name: string,
  makeStore: (clock: Clock) => ArtifactStore,
  ageRotation?: (refreshToken: string, seconds: number) => Promise<void>,
): void {
  describe(`${name}: the artifact store contract`, () => {
    let now = Date.UTC(2026, 0, 1, 12);
    let store: ArtifactStore;
    const seconds = () => Math.floor(now / 1000);
    const passSeconds = (count: number) => {
      now += count * 1000;
    };
    beforeAll(() => {
      store = makeStore(() => now);
    });

    async function put(kind: ArtifactKind, members: ArtifactPayload = {}, ttlSeconds = HOUR) {
      const id = randomValue();
      const payload: ArtifactPayload = { iat: seconds(), exp: seconds() + ttlSeconds, kind, jti: id, ...members };
      await store.upsert(kind, id, payload, ttlSeconds);
      return { id, payload };
    }

    describe('what was stored', () => {
      test.each(realisticArtifacts().map((artifact) => [artifact.kind, artifact] as const))(
        'a realistic %s comes back as it was written',
        async (kind, { id, payload, readBack }) => {
          await store.upsert(kind, id, payload, HOUR);
          expect(await store.find(kind, id)).toEqual(readBack);
        },
      );

      test('is not found under another value or as another kind', async () => {
        const { id } = await put('AccessToken');
        expect(await store.find('AccessToken', randomValue())).toBeUndefined();
        expect(await store.find('RefreshToken', id)).toBeUndefined();
      });

      test('is not changed by what the caller does to the payload afterwards, nor by readers', async () => {
        const { id, payload } = await put('AccessToken', { extra: { level: 1 } });
        payload.extra = { level: 2 };
        const [first, second] = await Promise.all([store.find('AccessToken', id), store.find('AccessToken', id)]);
        (first?.extra as ArtifactPayload).level = 3;
        expect(second?.extra).toEqual({ level: 1 });
      });

      test('leaves the payload of the caller untouched', async () => {
        for (const { kind, id, payload } of realisticArtifacts()) {
          const before = structuredClone(payload);
          await store.upsert(kind, id, payload, HOUR);
          expect(payload).toEqual(before);
        }
      });

      test('comes back whatever JSON it holds: nesting, any Unicode, NUL', async () => {
        const anything = fc.jsonValue({ stringUnit: 'binary' });
        await fc.assert(
          fc.asyncProperty(fc.string({ minLength: 1, unit: 'binary' }), anything, async (text, value) => {
            const { id, payload } = await put('AccessToken', {
              scope: text,
              extra: { [text]: value, 'a\0b': '\ud800' },
            });
            expect(await store.find('AccessToken', id)).toEqual(JSON.parse(JSON.stringify(payload)));
          }),
          { numRuns: 100 },
        );
      });

      test('comes back also where tokens stand among the parameters of an interaction', async () => {
        const parameters = fc.dictionary(
          fc.constantFrom('id_token_hint', 'request', 'client_notification_token', 'scope', 'state', '__proto__'),
          fc.jsonValue({ stringUnit: 'binary' }),
        );
        const path = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('', '{id}', 'x{id}/{id}'));
        await fc.assert(
          fc.asyncProperty(parameters, path, async (params, end) => {
            const id = randomValue();
            const returnTo = `https://as.example/authorize/${id}${end}`;
            const payload = { jti: id, params, prompt: { name: 'login', details: params }, returnTo, parJti: end };
            await store.upsert('Interaction', id, payload, HOUR);
            expect(await store.find('Interaction', id)).toEqual(JSON.parse(JSON.stringify(payload)));
          }),
          { numRuns: 100 },
        );
      });

      test('is refused with a reason where a reference holds a NUL', async () => {
        await expect(put('AccessToken', { grantId: 'a\0b' })).rejects.toThrow(/grantId must not contain a NUL/);
        expect(await store.findByUid('a\0b')).toBeUndefined();
        await store.revokeByGrantId('AccessToken', 'a\0b');
        expect(await store.revokeAll({ accountId: 'a\0b' })).toBe(0);
      });
    });

    describe('a key', () => {
      const looksOf = () => [store, store.openTokenReader()];

      test('tells whether what has it is stored, for as long as that is found', async () => {
        const { id } = await put('ClientCredentials', {}, 60);
        const key = artifactKey('ClientCredentials', id);
        for (const look of looksOf()) expect(await look.hasKey(key)).toBe(true);
        passSeconds(60 + 15);
        for (const look of looksOf()) expect(await look.hasKey(key)).toBe(false);
      });

      test('is of one kind, and of nothing that was destroyed', async () => {
        const { id } = await put('ClientCredentials');
        const grant = await put('Grant', { accountId: randomValue(), clientId: randomValue() });
        await store.destroy('ClientCredentials', id);
        await store.destroy('Grant', grant.id);
        const { id: other } = await put('AccessToken');
        const keys = [
          artifactKey('ClientCredentials', id),
          artifactKey('Grant', grant.id),
          artifactKey('ClientCredentials', other),
          artifactKey('AccessToken', randomValue()),
        ];
        for (const key of keys) for (const look of looksOf()) expect(await look.hasKey(key)).toBe(false);
        expect(await store.hasKey(artifactKey('AccessToken', other))).toBe(true);
      });
    });

    describe('expiry', () => {
      test('an artifact is still found within the clock tolerance of 15 s, and no longer', async () => {
        const { id } = await put('AccessToken', {}, 60);
        passSeconds(60 + 14);
        expect(await store.find('AccessToken', id)).toBeDefined();
        passSeconds(1);
        expect(await store.find('AccessToken', id)).toBeUndefined();
      });

      test('an artifact without a lifetime stays', async () => {
        const id = randomValue();
        await store.upsert('InitialAccessToken', id, { jti: id }, undefined);
        passSeconds(1_000 * DAY);
        expect(await store.find('InitialAccessToken', id)).toBeDefined();
      });

      test('a later write sets a new expiry', async () => {
        const { id, payload } = await put('Session', { uid: randomValue() }, 60);
        passSeconds(59);
        await store.upsert('Session', id, payload, 60);
        passSeconds(59);
        expect(await store.find('Session', id)).toBeDefined();
      });

      test.each([
        ['AuthorizationCode', 60, HOUR],
        ['RefreshToken', 14 * DAY, 7 * DAY],
      ] as const)(
        'a used %s is recognised after its expiry, as used and not as expired',
        async (kind, ttl, retention) => {
          const { id, payload } = await put(kind, {}, ttl);
          const consumed = seconds();
          await store.consume(kind, id);
          passSeconds(ttl + retention - 1);
          const found = await store.find(kind, id);
          expect(found).toEqual({ ...payload, consumed, exp: expect.any(Number) });
          expect(found?.exp).toBeGreaterThan(seconds());
          passSeconds(1);
          expect(await store.find(kind, id)).toBeUndefined();
        },
      );

      test('a code that was never used keeps the expiry it was given', async () => {
        const { id, payload } = await put('AuthorizationCode', {}, 60);
        passSeconds(120);
        expect(await store.find('AuthorizationCode', id)).toEqual(payload);
      });
    });

    describe('consuming', () => {
      test('tells who was first, who was late and what does not exist', async () => {
        const { id, payload } = await put('AuthorizationCode');
        expect(await store.consume('AuthorizationCode', id)).toBe('consumed');
        expect(await store.consume('AuthorizationCode', id)).toBe('already_consumed');
        expect(await store.consume('AuthorizationCode', randomValue())).toBe('not_found');
        expect(await store.consume('RefreshToken', id)).toBe('not_found');
        expect(await store.find('AuthorizationCode', id)).toEqual({ ...payload, consumed: seconds() });
      });

      test('a code is consumed once, however many try at the same time', async () => {
        for (let repeat = 0; repeat < REPEATS; repeat += 1) {
          const { id } = await put('AuthorizationCode');
          const outcomes = await Promise.all(
            Array.from({ length: COMPETITORS }, () => store.consume('AuthorizationCode', id)),
          );
          expect(outcomes.filter((outcome) => outcome === 'consumed')).toHaveLength(1);
          expect(outcomes.filter((outcome) => outcome === 'already_consumed')).toHaveLength(COMPETITORS - 1);
        }
      });

      test('different codes at the same time do not disturb one another', async () => {
        const codes = await Promise.all(Array.from({ length: 50 }, () => put('AuthorizationCode')));
        const outcomes = await Promise.all(codes.map(({ id }) => store.consume('AuthorizationCode', id)));
        expect(new Set(outcomes)).toEqual(new Set(['consumed']));
      });

      test('is not undone when the artifact is saved again', async () => {
        const { id, payload } = await put('DeviceCode', { userCode: randomValue() });
        await store.consume('DeviceCode', id);
        await store.upsert('DeviceCode', id, payload, HOUR);
        expect(await store.consume('DeviceCode', id)).toBe('already_consumed');
        expect(await store.find('DeviceCode', id)).toHaveProperty('consumed');
      });
    });

    describe('rotating a refresh token', () => {
      const LEEWAY = 60;

      async function rotate(parent: string, options: { child?: string; leewaySeconds?: number } = {}) {
        const child = options.child ?? randomValue();
        const payload = { iat: seconds(), exp: seconds() + HOUR, kind: 'RefreshToken', jti: child, rotations: 1 };
        const rotation = { parent, child, payload, ttlSeconds: HOUR, leewaySeconds: options.leewaySeconds ?? LEEWAY };
        return { child, payload, result: await store.rotateRefreshToken(rotation) };
      }
      const letPass = async (parent: string, count: number) =>
        ageRotation === undefined ? passSeconds(count) : ageRotation(parent, count);

      test('consumes it and keeps its child', async () => {
        const parent = await put('RefreshToken');
        const { child, payload, result } = await rotate(parent.id);
        expect(result).toEqual({ outcome: 'rotated' });
        expect(await store.find('RefreshToken', child)).toEqual(payload);
        expect(await store.find('RefreshToken', parent.id)).toHaveProperty('consumed');
        expect(await store.consume('RefreshToken', parent.id)).toBe('already_consumed');
      });

      test('gives every retry within the leeway the child that there is, and keeps no other', async () => {
        const { id } = await put('RefreshToken');
        const first = await rotate(id);
        await letPass(id, LEEWAY / 2);
        for (let repeat = 0; repeat < 3; repeat += 1) {
          const retry = await rotate(id);
          expect(retry.result).toEqual({ outcome: 'retried', successor: first.child });
          expect(await store.find('RefreshToken', retry.child)).toBeUndefined();
        }
      });

      test('is refused as a reuse once the leeway has passed', async () => {
        const { id } = await put('RefreshToken');
        await rotate(id);
        await letPass(id, LEEWAY);
        const { child, result } = await rotate(id);
        expect(result).toEqual({ outcome: 'reused' });
        expect(await store.find('RefreshToken', child)).toBeUndefined();
      });

      test('without a leeway happens once, and all else is a reuse', async () => {
        const { id } = await put('RefreshToken');
        const results = await Promise.all(
          Array.from({ length: 20 }, async () => (await rotate(id, { leewaySeconds: 0 })).result.outcome),
        );
        expect(results.toSorted()).toEqual([...Array(19).fill('reused'), 'rotated']);
        expect((await rotate(id, { leewaySeconds: 0 })).result).toEqual({ outcome: 'reused' });
      });

      test('leaves one child, however many try at the same time', async () => {
        for (let repeat = 0; repeat < REPEATS; repeat += 1) {
          const { id } = await put('RefreshToken');
          const rotations = await Promise.all(Array.from({ length: COMPETITORS }, () => rotate(id)));
          const winners = rotations.filter(({ result }) => result.outcome === 'rotated');
          expect(winners).toHaveLength(1);
          const children = rotations.map(({ child, result }) =>
            result.outcome === 'retried' ? result.successor : child,
          );
          expect(new Set(children)).toEqual(new Set([winners[0]?.child]));
          const kept = await Promise.all(rotations.map(({ child }) => store.find('RefreshToken', child)));
          expect(kept.filter((found) => found !== undefined)).toHaveLength(1);
        }
      });

      test('of different tokens at the same time does not mix them up', async () => {
        const parents = await Promise.all(Array.from({ length: 100 }, () => put('RefreshToken')));
        const first = await Promise.all(parents.map(({ id }) => rotate(id)));
        const retries = await Promise.all(parents.toReversed().map(({ id }) => rotate(id)));
        expect(retries.map(({ result }) => result)).toEqual(
          first.toReversed().map(({ child }) => ({ outcome: 'retried', successor: child })),
        );
      });

      test('goes on from the child, whose own leeway counts', async () => {
        const { id } = await put('RefreshToken');
        const { child } = await rotate(id);
        const { child: grandchild } = await rotate(child);
        expect((await rotate(id)).result).toEqual({ outcome: 'retried', successor: child });
        expect((await rotate(child)).result).toEqual({ outcome: 'retried', successor: grandchild });
        await letPass(child, LEEWAY);
        expect((await rotate(child)).result).toEqual({ outcome: 'reused' });
      });

      test('has no way back when it was revoked, by itself or with its grant', async () => {
        const grantId = randomValue();
        for (const end of [
          (id: string) => store.destroy('RefreshToken', id),
          () => store.revokeByGrantId('RefreshToken', grantId),
          () => store.revokeAll({ grantId }),
        ]) {
          const { id } = await put('RefreshToken', { grantId });
          await rotate(id);
          await end(id);
          const { child, result } = await rotate(id);
          expect(result).toEqual({ outcome: 'not_found' });
          expect(await store.find('RefreshToken', child)).toBeUndefined();
          expect(await store.findRotatedRefreshToken(id, LEEWAY)).toBeUndefined();
        }
        expect((await rotate(randomValue())).result).toEqual({ outcome: 'not_found' });
      });

      test('that was consumed in another way has no successor', async () => {
        const { id } = await put('RefreshToken');
        await store.consume('RefreshToken', id);
        expect((await rotate(id)).result).toEqual({ outcome: 'reused' });
        expect(await store.findRotatedRefreshToken(id, LEEWAY)).toBeUndefined();
      });

      test('lets it be found as it was before, within the leeway and by no other look-up', async () => {
        const { id, payload } = await put('RefreshToken', { scope: 'openid' });
        expect(await store.findRotatedRefreshToken(id, LEEWAY)).toBeUndefined();
        await rotate(id);
        expect(await store.findRotatedRefreshToken(id, LEEWAY)).toEqual(payload);
        expect(await store.find('RefreshToken', id)).toHaveProperty('consumed');
        expect(await store.findRotatedRefreshToken(id, 0)).toBeUndefined();
        await letPass(id, LEEWAY);
        expect(await store.findRotatedRefreshToken(id, LEEWAY)).toBeUndefined();
      });

      test('leaves it with the expiry that it had', async () => {
        const { id, payload } = await put('RefreshToken', {}, 5);
        await rotate(id);
        passSeconds(6);
        expect(await store.findRotatedRefreshToken(id, LEEWAY)).toEqual(payload);
      });
    });

    describe('one-time values', () => {
      test('are accepted once, however many try at the same time', async () => {
        for (let repeat = 0; repeat < REPEATS; repeat += 1) {
          const id = randomValue();
          const answers = await Promise.all(
            Array.from({ length: COMPETITORS }, () => store.insertOnce('ReplayDetection', id, 60)),
          );
          expect(answers.filter(Boolean)).toHaveLength(1);
        }
      });

      test('are refused until the expiry that the save after the look-up gave them has passed', async () => {
        const id = randomValue();
        expect(await store.insertOnce('ReplayDetection', id, 60)).toBe(true);
        await store.upsert('ReplayDetection', id, { jti: id, iss: 'https://client.example' }, 300);
        passSeconds(300 + 14);
        expect(await store.insertOnce('ReplayDetection', id, 60)).toBe(false);
        passSeconds(1);
        expect(await store.insertOnce('ReplayDetection', id, 60)).toBe(true);
        expect(await store.insertOnce('ReplayDetection', id, 60)).toBe(false);
      });
    });

    describe('saving again', () => {
      test('the last of several writes at the same time wins', async () => {
        for (let repeat = 0; repeat < REPEATS; repeat += 1) {
          const id = randomValue();
          const writes = Array.from({ length: 600 }, (_, turn) =>
            store.upsert('Interaction', id, { jti: id, turn }, HOUR),
          );
          await Promise.all(writes);
          expect(await store.find('Interaction', id)).toEqual({ jti: id, turn: 599 });
        }
      });

      test('a device code saved without its user code is still found by it', async () => {
        const userCode = randomValue();
        const { id, payload } = await put('DeviceCode', { userCode });
        const { userCode: _, ...withoutUserCode } = payload;
        await store.upsert('DeviceCode', id, { ...withoutUserCode, inFlight: true }, HOUR);
        expect(await store.findByUserCode(userCode)).toEqual({ ...payload, inFlight: true });
      });

      test('the same holds when both writes arrive together', async () => {
        const [id, userCode] = [randomValue(), randomValue()];
        await Promise.all([
          store.upsert('DeviceCode', id, { jti: id, userCode }, HOUR),
          store.upsert('DeviceCode', id, { jti: id, inFlight: true }, HOUR),
        ]);
        expect(await store.findByUserCode(userCode)).toEqual({ jti: id, userCode, inFlight: true });
      });
    });

    describe('looking up by something else', () => {
      test('a session is found by its uid, without the value of its cookie', async () => {
        const uid = randomValue();
        const { payload } = await put('Session', { uid, accountId: 'alice' });
        const { jti: _, ...expected } = payload;
        expect(await store.findByUid(uid)).toEqual(expected);
        expect(await store.findByUid(randomValue())).toBeUndefined();
      });

      test('a session that got a new id is found by its uid in its newest form', async () => {
        const uid = randomValue();
        const { id } = await put('Session', { uid, accountId: 'alice' });
        await store.destroy('Session', id);
        const renewed = await put('Session', { uid, accountId: 'alice', acr: 'second factor' });
        expect(await store.findByUid(uid)).toMatchObject({ acr: 'second factor' });
        expect(await store.find('Session', renewed.id)).toBeDefined();
      });

      test('of two that live under one uid, which concurrent renewals leave, the one saved last is found', async () => {
        const uid = randomValue();
        for (const acr of ['first', 'last']) {
          await put('Session', { uid, acr });
          passSeconds(1);
        }
        expect(await store.findByUid(uid)).toMatchObject({ acr: 'last' });
      });

      test('a device code is found by its user code, and its own value comes with it', async () => {
        const userCode = randomValue();
        const { id, payload } = await put('DeviceCode', { userCode });
        expect(await store.findByUserCode(userCode)).toEqual({ ...payload, jti: id });
        expect(await store.findByUserCode(randomValue())).toBeUndefined();
        await store.destroy('DeviceCode', id);
        expect(await store.findByUserCode(userCode)).toBeUndefined();
      });

      test('a user code that two devices drew finds neither while both wait', async () => {
        const userCode = randomValue();
        await put('DeviceCode', { userCode }, 60);
        const second = await put('DeviceCode', { userCode }, 600);
        expect(await store.findByUserCode(userCode)).toBeUndefined();
        passSeconds(61);
        expect(await store.findByUserCode(userCode)).toEqual(second.payload);
      });
    });

    describe('verifying a token', () => {
      /** A person's token that ends with their session, and what else a reader is asked for. */
      async function issued(kind: 'AccessToken' | 'RefreshToken' = 'AccessToken') {
        const uid = randomValue();
        const parties = { accountId: `account-${randomValue()}`, clientId: `client-${randomValue()}` };
        const grant = await put('Grant', parties);
        const session = await put('Session', { uid, accountId: parties.accountId });
        const members = { ...parties, grantId: grant.id, sessionUid: uid, expiresWithSession: true };
        return { ...parties, uid, grant, session, token: await put(kind, members) };
      }
      type Issued = Awaited<ReturnType<typeof issued>>;

      /** What the library asks for, in its order, in one request. */
      async function verify({ token, grant, uid }: Issued) {
        const reader = store.openTokenReader();
        const kinds = ['AccessToken', 'ClientCredentials', 'RefreshToken'] as const;
        const found = await Promise.all(kinds.map((kind) => reader.find(kind, token.id)));
        return {
          token: found.find((payload) => payload !== undefined),
          session: await reader.findByUid(uid),
          grant: await reader.find('Grant', grant.id),
        };
      }

      const whole = ({ token, grant, session }: Issued) => {
        const { jti: _, ...openSession } = session.payload;
        return { token: token.payload, grant: grant.payload, session: openSession };
      };

      test.each(['AccessToken', 'RefreshToken'] as const)('finds an %s with its grant and session', async (kind) => {
        const all = await issued(kind);
        for (let repeat = 0; repeat < 3; repeat += 1) expect(await verify(all)).toEqual(whole(all));
      });

      test('finds a token of no person, and what bears its own value elsewhere', async () => {
        const service = await put('ClientCredentials', { clientId: 'service' });
        const nested = await put('AccessToken', {});
        await store.upsert(
          'AccessToken',
          nested.id,
          { ...nested.payload, extra: { note: nested.id, nul: '\0' } },
          HOUR,
        );
        for (let repeat = 0; repeat < 2; repeat += 1) {
          expect(await store.openTokenReader().find('ClientCredentials', service.id)).toEqual(service.payload);
          const found = await store.openTokenReader().find('AccessToken', nested.id);
          expect(found?.extra).toEqual({ note: nested.id, nul: '\0' });
        }
      });

      test('finds a token whose members hold whatever JSON may, beside the session that it ends with', async () => {
        const { uid, session } = await issued();
        const token = await put('AccessToken', { scope: 'a\0b"expiresWithSession":true', sessionUid: uid, nul: '\0' });
        const reader = store.openTokenReader();
        expect(await reader.find('AccessToken', token.id)).toEqual(token.payload);
        expect(await reader.findByUid(uid)).toMatchObject({ accountId: session.payload.accountId });
      });

      test.each<
        [what: string, end: (all: Issued) => Promise<unknown>, gone: (keyof Awaited<ReturnType<typeof verify>>)[]]
      >([
        ['the token was destroyed', ({ token }) => store.destroy('AccessToken', token.id), ['token']],
        ['the grant was destroyed', ({ grant }) => store.destroy('Grant', grant.id), ['grant']],
        ['the session was destroyed', ({ session }) => store.destroy('Session', session.id), ['session']],
        ['the tokens of the grant were', ({ grant }) => store.revokeByGrantId('AccessToken', grant.id), ['token']],
        ['all of the grant was', ({ grant }) => store.revokeAll({ grantId: grant.id }), ['token', 'grant']],
        ['all of the account was', ({ accountId }) => store.revokeAll({ accountId }), ['token', 'grant', 'session']],
        ['all of the client was', ({ clientId }) => store.revokeAll({ clientId }), ['token', 'grant']],
      ])('finds nothing any more once %s, however often it was found before', async (_, end, gone) => {
        const all = await issued();
        for (let repeat = 0; repeat < 3; repeat += 1) expect(await verify(all)).toEqual(whole(all));
        await end(all);
        const left = await verify(all);
        expect(left).toEqual({ ...whole(all), ...Object.fromEntries(gone.map((name) => [name, undefined])) });
      });

      test('finds a session and a grant as they were saved last', async () => {
        const all = await issued();
        await verify(all);
        await store.upsert('Session', all.session.id, { ...all.session.payload, acr: '2' }, HOUR);
        await store.upsert('Grant', all.grant.id, { ...all.grant.payload, openid: { scope: 'openid' } }, HOUR);
        const { session, grant } = await verify(all);
        expect(session).toMatchObject({ acr: '2' });
        expect(grant).toMatchObject({ openid: { scope: 'openid' } });
      });

      test('finds other kinds as a look-up does', async () => {
        const code = await put('AuthorizationCode');
        expect(await store.openTokenReader().find('AuthorizationCode', code.id)).toEqual(code.payload);
      });
    });

    describe('destroying', () => {
      test('many at the same time, of any kind and some of them twice, ends each', async () => {
        const some = await Promise.all(
          (['AccessToken', 'Grant', 'Session', 'RefreshToken'] as const).flatMap((kind) =>
            Array.from({ length: 40 }, async () => ({ kind, ...(await put(kind)) })),
          ),
        );
        await Promise.all([...some, ...some.slice(0, 60)].map(({ kind, id }) => store.destroy(kind, id)));
        const left = await Promise.all(some.map(({ kind, id }) => store.find(kind, id)));
        expect(left.filter(Boolean)).toEqual([]);
      });

      test('a session by two requests at once ends its uid, as one after the other does', async () => {
        const uid = randomValue();
        const { id } = await put('Session', { uid, accountId: 'alice' });
        await Promise.all([store.destroy('Session', id), store.destroy('Session', id)]);
        const revenant = await put('Session', { uid, accountId: 'alice' });
        expect(await store.find('Session', revenant.id)).toBeUndefined();
      });

      test('what was destroyed is gone, of every kind', async () => {
        for (const { kind, id, payload } of realisticArtifacts()) {
          await store.upsert(kind, id, payload, HOUR);
          await store.destroy(kind, id);
          expect(await store.find(kind, id)).toBeUndefined();
          expect(await store.consume(kind, id)).toBe('not_found');
          await store.destroy(kind, randomValue());
        }
      });

      test.each(['Session', 'Grant'] as const)(
        'a %s does not come back by a request that was in flight',
        async (kind) => {
          const { id, payload } = await put(kind, { uid: randomValue() });
          await store.destroy(kind, id);
          await store.upsert(kind, id, payload, HOUR);
          expect(await store.find(kind, id)).toBeUndefined();
        },
      );

      test('a signed-out session does not come back under the new id that a request in flight gives it', async () => {
        const uid = randomValue();
        const { id } = await put('Session', { uid, accountId: 'alice' });
        await store.destroy('Session', id); // the sign-out
        await store.destroy('Session', id); // the request in flight: a new id for what it thinks alive
        const revenant = await put('Session', { uid, accountId: 'alice' });
        expect(await store.find('Session', revenant.id)).toBeUndefined();
        expect(await store.findByUid(uid)).toBeUndefined();
      });

      test('a sign-out under an id that has just been replaced ends the session under the new one', async () => {
        const uid = randomValue();
        const { id } = await put('Session', { uid, accountId: 'alice' });
        await store.destroy('Session', id); // the renewal
        const renewed = await put('Session', { uid, accountId: 'alice' });
        await store.destroy('Session', id); // the sign-out, begun before it
        expect(await store.find('Session', renewed.id)).toBeUndefined();
      });

      test('a grant that is destroyed twice disturbs no other', async () => {
        const [{ id }, other] = [await put('Grant'), await put('Grant')];
        await store.destroy('Grant', id);
        await store.destroy('Grant', id);
        expect(await store.find('Grant', other.id)).toBeDefined();
      });
    });

    describe('revoking', () => {
      test('by grant, of several grants and kinds at once, takes no other', async () => {
        const kinds = ['AccessToken', 'RefreshToken'] as const;
        const [first, second] = [randomValue(), randomValue()];
        const issue = (grantId: string) => Promise.all(kinds.map((kind) => put(kind, { grantId })));
        const [ofFirst, ofSecond] = [await issue(first), await issue(second)];
        await Promise.all([
          store.revokeByGrantId('AccessToken', first),
          store.revokeByGrantId('RefreshToken', second),
          store.revokeByGrantId('AccessToken', first),
        ]);
        const left = async (tokens: { id: string }[]) =>
          (await Promise.all(kinds.map((kind, index) => store.find(kind, tokens[index]?.id ?? '')))).map(Boolean);
        expect([await left(ofFirst), await left(ofSecond)]).toEqual([
          [false, true],
          [true, false],
        ]);
      });

      test('by grant takes what was issued under it, of the kind asked for', async () => {
        const grantId = randomValue();
        const access = await put('AccessToken', { grantId });
        const refresh = await put('RefreshToken', { grantId });
        const other = await put('AccessToken', { grantId: randomValue() });
        await store.revokeByGrantId('AccessToken', grantId);
        expect(await store.find('AccessToken', access.id)).toBeUndefined();
        expect(await store.find('RefreshToken', refresh.id)).toBeDefined();
        expect(await store.find('AccessToken', other.id)).toBeDefined();
      });

      /** Everything that alice has at one client, and what must survive. */
      async function household() {
        const [accountId, clientId] = [`account-${randomValue()}`, `client-${randomValue()}`];
        const grant = await put('Grant', { accountId, clientId });
        const issued = { accountId, clientId, grantId: grant.id };
        return {
          accountId,
          clientId,
          grantId: grant.id,
          Grant: grant,
          AccessToken: await put('AccessToken', issued),
          AuthorizationCode: await put('AuthorizationCode', issued),
          RefreshToken: await put('RefreshToken', issued),
          DeviceCode: await put('DeviceCode', { ...issued, userCode: randomValue() }),
          BackchannelAuthenticationRequest: await put('BackchannelAuthenticationRequest', issued),
          ClientCredentials: await put('ClientCredentials', { clientId }),
          RegistrationAccessToken: await put('RegistrationAccessToken', { clientId }),
          Session: await put('Session', { accountId, uid: randomValue() }),
          Interaction: await put('Interaction', {
            params: { client_id: clientId },
            result: { login: { accountId } },
            grantId: grant.id,
          }),
        };
      }
      type Household = Awaited<ReturnType<typeof household>>;
      const underGrant = [
        'Grant',
        'AccessToken',
        'AuthorizationCode',
        'RefreshToken',
        'DeviceCode',
        'BackchannelAuthenticationRequest',
      ] as const;
      const all = [...underGrant, 'ClientCredentials', 'RegistrationAccessToken', 'Session', 'Interaction'] as const;

      async function survivors(of: Household): Promise<string[]> {
        const found = await Promise.all(all.map(async (kind) => ((await store.find(kind, of[kind].id)) ? [kind] : [])));
        return found.flat();
      }

      test.each([
        ['accountId', [...underGrant, 'Session', 'Interaction'], ['ClientCredentials', 'RegistrationAccessToken']],
        ['clientId', [...underGrant, 'ClientCredentials', 'Interaction'], ['RegistrationAccessToken', 'Session']],
        ['grantId', underGrant, ['ClientCredentials', 'RegistrationAccessToken', 'Session', 'Interaction']],
      ] as const)('everything by %s ends what belongs to it, and nothing else', async (by, dying, surviving) => {
        const [target, bystander] = [await household(), await household()];
        const filter = { [by]: target[by] } as { accountId: string } | { clientId: string } | { grantId: string };
        expect(await store.revokeAll(filter)).toBe(dying.length);
        expect(await survivors(target)).toEqual(surviving);
        expect(await survivors(bystander)).toEqual([...all]);
        expect(await store.revokeAll(filter)).toBe(0);
      });

      test.each<[where: string, membersOf: (accountId: string) => ArtifactPayload]>([
        ['was just proved', (accountId) => ({ result: { login: { accountId } }, session: { accountId: 'before' } })],
        [
          'was proved in an earlier step',
          (accountId) => ({ result: { consent: {} }, lastSubmission: { login: { accountId } } }),
        ],
        ['is signed in', (accountId) => ({ session: { accountId, uid: randomValue() } })],
      ])('by account ends the interaction of a person who %s', async (_, membersOf) => {
        const accountId = `account-${randomValue()}`;
        const begun = await put('Interaction', { params: {} });
        await store.upsert('Interaction', begun.id, { ...begun.payload, ...membersOf(accountId) }, HOUR);
        expect(await store.revokeAll({ accountId })).toBe(1);
        expect(await store.find('Interaction', begun.id)).toBeUndefined();
      });

      test('by account ends sessions for good, also under an id that a request in flight gives them', async () => {
        const { accountId, Session } = await household();
        await store.revokeAll({ accountId });
        await store.upsert('Session', Session.id, Session.payload, HOUR);
        const revenant = await put('Session', { accountId, uid: Session.payload.uid });
        expect(await store.find('Session', Session.id)).toBeUndefined();
        expect(await store.find('Session', revenant.id)).toBeUndefined();
      });

      test('a grant that was revoked does not come back', async () => {
        const { grantId, Grant } = await household();
        await store.revokeAll({ grantId });
        await store.upsert('Grant', grantId, Grant.payload, HOUR);
        expect(await store.find('Grant', grantId)).toBeUndefined();
      });

      test('ends everything, however much there is', async () => {
        const clientId = `client-${randomValue()}`;
        const tokens = await Promise.all(Array.from({ length: 2_500 }, () => put('ClientCredentials', { clientId })));
        expect(await store.revokeAll({ clientId })).toBe(tokens.length);
      });
    });

    test('closing waits for the writes in flight', async () => {
      let isWritten = false;
      const id = randomValue();
      const writing = store.upsert('AccessToken', id, { jti: id }, HOUR).then(() => {
        isWritten = true;
      });
      await store.close();
      expect(isWritten).toBe(true);
      await writing;
      expect(await store.find('AccessToken', id)).toBeDefined();
    });
  });
}
