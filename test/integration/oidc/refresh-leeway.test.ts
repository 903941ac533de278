import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { digestOf } from '../../../src/tokens/artifact-row.ts';
import { createTestAccount, createTestClient, type TestClient } from '../../harness/factories.ts';
import { BURIAL, type FailingWrite, whileWritesFail } from '../../harness/failing-writes.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { freshFolder } from '../../harness/fresh-folder.ts';
import { Person } from '../../harness/person.ts';
import { startServerProcess } from '../../harness/process.ts';
import { ageRotation } from '../../harness/rotations.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import {
  type Answer,
  introspect,
  isActive,
  refresh,
  revoke,
  type Tokens,
  userinfo,
} from '../../harness/token-requests.ts';
import { until } from '../../harness/until.ts';

const OFFLINE = { scope: 'openid profile email offline_access', prompt: 'consent' };
/** The longest, so that no machine is too slow to retry within it. */
const LEEWAY_SECONDS = 60;
const TABS = 50;
/** Of races that may fall out either way. */
const ROUNDS = 6;

/** Two nodes with a leeway, and one without, of one issuer on one database. */
let nodes: [TestServer, TestServer];
let strict: TestServer;
let issuer: string;
beforeAll(async () => {
  const REFRESH_TOKEN_LEEWAY = String(LEEWAY_SECONDS);
  const first = await startTestServer({ environment: { REFRESH_TOKEN_LEEWAY } });
  issuer = first.issuer;
  nodes = [first, await startTestServer({ node: first, environment: { ISSUER: issuer, REFRESH_TOKEN_LEEWAY } })];
  strict = await startTestServer({ node: first, environment: { ISSUER: issuer, REFRESH_TOKEN_LEEWAY: '0' } });
});
afterAll(async () => {
  await strict.close();
  for (const node of [...nodes].reverse()) await node.close();
});

const publicClient = () => createTestClient(nodes[0].domains, { metadata: { token_endpoint_auth_method: 'none' } });
const pool = () => nodes[0].domains.database.pool;
const addressOf = (index: number) => nodes[index % 2 === 0 ? 0 : 1].address;

async function signedIn(client: TestClient, person = new Person()) {
  const credentials = await createTestAccount(nodes[0].domains);
  const tokens = await signInForTokens(issuer, client, credentials, { parameters: OFFLINE, person });
  return { accountId: credentials.account.id, tokens, parent: String(tokens.refresh_token) };
}

async function refreshed(client: TestClient, refreshToken: string | undefined, address = issuer): Promise<Tokens> {
  const { status, body } = await refresh(address, client, refreshToken);
  expect({ status, error: body.error }).toEqual({ status: 200, error: undefined });
  return body as Tokens;
}

async function expectRefused(answer: Promise<Answer>): Promise<void> {
  const { status, body } = await answer;
  expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_grant' });
}

/** Refresh tokens of a client that can be used. */
async function liveRows(client: TestClient): Promise<{ id: Buffer }[]> {
  const { rows } = await pool().query(
    `select id from artifacts where client_id = $1 and kind = 'RefreshToken' and consumed_at is null`,
    [client.id],
  );
  return rows;
}

async function auditOf(client: TestClient): Promise<string[]> {
  const types = ['token.reuse_detected', 'grant.revoked'] as const;
  const events = await nodes[0].domains.audit.tail({ limit: 1_000, types: [...types] });
  return events.filter(({ clientId }) => clientId === client.id).map(({ type }) => type);
}

describe('within the leeway', () => {
  test('fifty parallel refreshes of one token on two nodes are all answered with one new token, twenty times', async () => {
    for (let round = 0; round < 20; round += 1) {
      const client = await publicClient();
      const { accountId, tokens: original, parent } = await signedIn(client);
      const { nonce, auth_time } = decodeJwt(original.id_token ?? '');
      const answers = await Promise.all(
        Array.from({ length: TABS }, (_, index) => refresh(addressOf(index), client, parent)),
      );
      expect(answers.map(({ status }) => status)).toEqual(Array(TABS).fill(200));
      const tokens = answers.map(({ body }) => body as Tokens);
      const children = new Set(tokens.map(({ refresh_token }) => refresh_token));
      expect(children.size).toBe(1);
      expect(children).not.toContain(parent);
      const [child] = children;
      const live = await liveRows(client);
      expect(live.map(({ id }) => id.toString('hex'))).toEqual([
        digestOf('RefreshToken', String(child)).toString('hex'),
      ]);
      expect(await isActive(addressOf(round), client, parent)).toBe(false);
      expect(await isActive(addressOf(round), client, child)).toBe(true);
      expect(new Set(tokens.map(({ access_token }) => access_token)).size).toBe(TABS);
      const areActive = tokens.map(({ access_token }) => isActive(addressOf(round), client, access_token));
      expect(await Promise.all(areActive)).toEqual(Array(TABS).fill(true));
      for (const { id_token } of tokens) {
        expect(decodeJwt(id_token ?? '')).toMatchObject({ sub: accountId, aud: client.id, nonce, auth_time });
      }
      await refreshed(client, child);
    }
  });

  test('the parent is inactive for whoever introspects it, before, between and after the retries', async () => {
    const client = await publicClient();
    const { parent } = await signedIn(client);
    await refreshed(client, parent);
    const work = Array.from({ length: 40 }, async (_, index) =>
      index % 2 === 0
        ? (await refresh(addressOf(index / 2), client, parent)).status
        : (await introspect(addressOf((index - 1) / 2), client, parent)).body,
    );
    const seen = await Promise.all(work);
    expect(seen.filter((_, index) => index % 2 === 0)).toEqual(Array(20).fill(200));
    expect(seen.filter((_, index) => index % 2 === 1)).toEqual(Array(20).fill({ active: false }));
    expect(await isActive(issuer, client, parent)).toBe(false);
  });

  test('a retry after a lost answer gets the same token on either node, and nothing is ended or recorded as a theft', async () => {
    const client = await publicClient();
    const { tokens, parent } = await signedIn(client);
    const first = await refreshed(client, parent, addressOf(0));
    await ageRotation(pool(), parent, LEEWAY_SECONDS / 2);
    for (const index of [0, 1]) {
      const retry = await refreshed(client, parent, addressOf(index));
      expect(retry.refresh_token).toBe(first.refresh_token);
      expect((await userinfo(issuer, retry.access_token)).status).toBe(200);
    }
    for (const token of [tokens.access_token, first.access_token, first.refresh_token]) {
      expect(await isActive(issuer, client, token)).toBe(true);
    }
    expect(await auditOf(client)).toEqual([]);
  });

  test('a tab that comes late gets the child although another has used it, and is led on by the child’s own leeway', async () => {
    const client = await publicClient();
    const { parent } = await signedIn(client);
    const child = await refreshed(client, parent);
    const grandchild = await refreshed(client, child.refresh_token);
    const late = await refreshed(client, parent);
    expect(late.refresh_token).toBe(child.refresh_token);
    expect((await refreshed(client, late.refresh_token)).refresh_token).toBe(grandchild.refresh_token);
    expect(await liveRows(client)).toHaveLength(1);
  });

  test('a retry may ask for less, and the one after it for all of it again', async () => {
    const client = await publicClient();
    const { parent } = await signedIn(client);
    const narrow = await refresh(issuer, client, parent, { scope: 'openid email' });
    expect(narrow).toMatchObject({ status: 200, body: { scope: 'openid email' } });
    const retry = await refresh(issuer, client, parent, { scope: 'openid profile' });
    expect(retry.body).toMatchObject({ scope: 'openid profile', refresh_token: narrow.body.refresh_token });
    const wider = await refresh(issuer, client, parent, { scope: 'openid phone' });
    expect(wider).toMatchObject({ status: 400, body: { error: 'invalid_scope' } });
    expect((await refreshed(client, String(narrow.body.refresh_token))).scope).toBe(OFFLINE.scope);
  });

  test('a retry by another client is refused and takes nothing away', async () => {
    const [client, thief] = await Promise.all([publicClient(), publicClient()]);
    const confidential = await createTestClient(nodes[0].domains);
    const { parent } = await signedIn(client);
    const { refresh_token: child } = await refreshed(client, parent);
    for (const stranger of [thief, confidential]) await expectRefused(refresh(issuer, stranger, parent));
    expect((await refreshed(client, parent)).refresh_token).toBe(child);
    await refreshed(client, child);
  });

  test('a retry is a rotation too where the policy would by now leave the token as it is', async () => {
    const client = await publicClient();
    const { parent } = await signedIn(client);
    const { refresh_token: child } = await refreshed(client, parent);
    const twoYearsAgo = Math.floor(Date.now() / 1000) - 2 * 365 * 24 * 60 * 60;
    await pool().query(
      `update artifacts set payload = jsonb_set(payload::jsonb, '{iiat}', to_jsonb($2::int))::json where id = $1`,
      [digestOf('RefreshToken', parent), twoYearsAgo],
    );
    expect((await refreshed(client, parent)).refresh_token).toBe(child);
  });

  test.each<[how: string, end: (of: { client: TestClient; child: string; accountId: string }) => Promise<unknown>]>([
    ['the child is revoked', ({ client, child }) => revoke(issuer, client, child)],
    ['everything of the account is ended', ({ accountId }) => nodes[1].domains.artifacts.revokeAll({ accountId })],
    [
      'everything of the client is ended',
      ({ client }) => nodes[1].domains.artifacts.revokeAll({ clientId: client.id }),
    ],
  ])('nothing comes back by a retry after %s', async (_, end) => {
    const client = await publicClient();
    const { accountId, parent } = await signedIn(client);
    const { refresh_token: child, access_token } = await refreshed(client, parent);
    await end({ client, child: String(child), accountId });
    for (const token of [parent, child]) await expectRefused(refresh(issuer, client, token));
    for (const token of [access_token, child]) expect(await isActive(issuer, client, token)).toBe(false);
    expect(await liveRows(client)).toEqual([]);
  });

  test('the parent itself can be revoked, and takes its family along', async () => {
    const client = await publicClient();
    const { parent } = await signedIn(client);
    const { refresh_token: child } = await refreshed(client, parent);
    expect((await revoke(issuer, client, parent)).status).toBe(200);
    for (const token of [parent, child]) await expectRefused(refresh(issuer, client, token));
  });

  test('refreshes that race with a revocation leave nothing alive, however it falls out', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const client = await publicClient();
      const { parent, tokens } = await signedIn(client);
      const [, ...answers] = await Promise.all([
        revoke(addressOf(round), client, round % 4 < 2 ? parent : tokens.access_token),
        ...Array.from({ length: 6 }, (_, index) => refresh(addressOf(index), client, parent)),
      ]);
      const issued = answers
        .flatMap(({ body }) => [body.access_token, body.refresh_token])
        .filter(Boolean)
        .map(String);
      for (const { status, body } of answers) if (status !== 200) expect(body.error).toBe('invalid_grant');
      for (const token of issued) expect(await isActive(issuer, client, token)).toBe(false);
      for (const { body } of answers) await expectRefused(refresh(issuer, client, String(body.refresh_token)));
      await expectRefused(refresh(issuer, client, parent));
    }
  });
});

describe('what happens to the parent between its look-up and its rotation counts', () => {
  /** Lets a refresh come as far as the rotation, does something to the parent, and lets it go on. */
  async function refreshMeanwhile(client: TestClient, parent: string, change: string): Promise<Answer> {
    const holder = await pool().connect();
    try {
      await holder.query('begin');
      await holder.query('select from artifacts where id = $1 for update', [digestOf('RefreshToken', parent)]);
      const answer = refresh(issuer, client, parent);
      await until('the rotation waits', async () => {
        const { rows } = await pool().query(
          `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
        );
        return rows.length > 0;
      });
      await holder.query(change, [digestOf('RefreshToken', parent)]);
      await holder.query('commit');
      return await answer;
    } finally {
      holder.release();
    }
  }

  test('revoked: no token is given', async () => {
    const client = await publicClient();
    const { parent } = await signedIn(client);
    await expectRefused(refreshMeanwhile(client, parent, 'delete from artifacts where id = $1'));
    expect(await liveRows(client)).toEqual([]);
  });

  test('rotated longer ago than the leeway is long: that is a reuse, and ends the grant', async () => {
    const client = await publicClient();
    const { parent, tokens } = await signedIn(client);
    const change = `update artifacts set consumed_at = clock_timestamp() - interval '2 minutes', successor = 'x' where id = $1`;
    await expectRefused(refreshMeanwhile(client, parent, change));
    expect(await isActive(issuer, client, tokens.access_token)).toBe(false);
    expect((await auditOf(client)).sort()).toEqual(['grant.revoked', 'token.reuse_detected']);
  });
});

describe('after the leeway', () => {
  test('a use of the parent ends the whole grant, down to the grandchild, and that is recorded', async () => {
    const client = await publicClient();
    const { tokens, parent } = await signedIn(client);
    const child = await refreshed(client, parent, addressOf(0));
    const retry = await refreshed(client, parent, addressOf(1));
    const grandchild = await refreshed(client, child.refresh_token, addressOf(1));
    await ageRotation(pool(), parent, LEEWAY_SECONDS);
    const accessTokens = [tokens, child, retry, grandchild].map(({ access_token }) => access_token);
    for (const token of accessTokens) expect(await isActive(issuer, client, token)).toBe(true);
    await expectRefused(refresh(addressOf(0), client, parent));
    for (const node of nodes) {
      for (const token of [...accessTokens, grandchild.refresh_token]) {
        expect(await isActive(node.address, client, token)).toBe(false);
      }
    }
    for (const token of [child.refresh_token, grandchild.refresh_token, parent]) {
      await expectRefused(refresh(issuer, client, token));
    }
    expect((await auditOf(client)).sort()).toEqual(['grant.revoked', 'token.reuse_detected']);
  });

  test('a use by another client ends nothing', async () => {
    const [client, thief] = await Promise.all([publicClient(), publicClient()]);
    const { parent } = await signedIn(client);
    const { refresh_token: child } = await refreshed(client, parent);
    await ageRotation(pool(), parent, LEEWAY_SECONDS);
    await expectRefused(refresh(issuer, thief, parent));
    await refreshed(client, child);
  });

  test('many uses at once end the grant as one does', async () => {
    const client = await publicClient();
    const { parent } = await signedIn(client);
    const child = await refreshed(client, parent);
    await ageRotation(pool(), parent, LEEWAY_SECONDS);
    await Promise.all(
      Array.from({ length: 20 }, (_, index) => expectRefused(refresh(addressOf(index), client, parent))),
    );
    await expectRefused(refresh(issuer, client, child.refresh_token));
    expect(await isActive(issuer, client, child.access_token)).toBe(false);
    expect(await auditOf(client)).toContain('token.reuse_detected');
  });
});

test('a reuse that the database fails to act upon is recognised when it comes again', async () => {
  const client = await publicClient();
  const { parent } = await signedIn(client);
  const child = await refreshed(client, parent);
  await ageRotation(pool(), parent, LEEWAY_SECONDS);
  const writes: FailingWrite[] = [
    BURIAL,
    { before: 'delete', when: `old.kind = 'RefreshToken' and old.consumed_at is null` },
  ];
  await whileWritesFail(pool(), writes, async () => {
    expect((await refresh(issuer, client, parent)).status).toBe(503);
  });
  await expectRefused(refresh(issuer, client, parent));
  expect((await auditOf(client)).sort()).toEqual(['grant.revoked', 'token.reuse_detected']);
  await expectRefused(refresh(issuer, client, child.refresh_token));
});

describe('without a leeway', () => {
  test('a second use ends the grant at once', async () => {
    const client = await publicClient();
    const { parent } = await signedIn(client);
    const child = await refreshed(client, parent, strict.address);
    await expectRefused(refresh(strict.address, client, parent));
    await expectRefused(refresh(strict.address, client, child.refresh_token));
    expect(await isActive(issuer, client, child.access_token)).toBe(false);
    expect((await auditOf(client)).sort()).toEqual(['grant.revoked', 'token.reuse_detected']);
  });

  test('of parallel uses one wins at the most, and the others end what it got', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const client = await publicClient();
      const { parent } = await signedIn(client);
      const answers = await Promise.all(Array.from({ length: 8 }, () => refresh(strict.address, client, parent)));
      const winners = answers.filter(({ status }) => status === 200);
      expect(winners.length).toBeLessThanOrEqual(1);
      for (const { body } of winners) {
        expect(await isActive(issuer, client, String(body.access_token))).toBe(false);
        await expectRefused(refresh(strict.address, client, String(body.refresh_token)));
      }
      expect(await auditOf(client)).toContain('token.reuse_detected');
    }
  });
});

test('a node that dies between rotating and answering has lost nothing: a retry gets the token that it had made', async () => {
  const client = await publicClient();
  const { parent } = await signedIn(client);
  const folder = freshFolder();
  const holder = await pool().connect();
  const node = await startServerProcess({
    dataDirectory: folder.path,
    environment: {
      NODE_ENV: 'test',
      ISSUER: issuer,
      DATABASE_URL: nodes[0].databaseUrl,
      KEY_ENCRYPTION_KEY: nodes[0].keyEncryptionKey,
    },
  });
  try {
    await node.ready();
    // Its next step, the access token, gets stuck here.
    await holder.query(`
      create function get_stuck() returns trigger language plpgsql as
        $$ begin perform pg_advisory_xact_lock(1146); return new; end $$;
      create trigger get_stuck before insert on artifacts for each row when (new.kind = 'AccessToken')
        execute function get_stuck();
      select pg_advisory_lock(1146)`);
    const unanswered = refresh(node.address, client, parent).then(
      () => 'answered',
      () => 'unanswered',
    );
    const [child] = await until('the child is kept', async () => {
      const { rows } = await pool().query(
        `select id from artifacts where client_id = $1 and kind = 'RefreshToken' and consumed_at is null
           and id <> $2`,
        [client.id, digestOf('RefreshToken', parent)],
      );
      return rows.length > 0 && (rows as { id: Buffer }[]);
    });
    await node.dispose();
    expect(await unanswered).toBe('unanswered');
    await holder.query('select pg_advisory_unlock(1146); drop trigger get_stuck on artifacts; drop function get_stuck');
    const retry = await refreshed(client, parent, addressOf(1));
    expect(digestOf('RefreshToken', String(retry.refresh_token)).equals(child?.id ?? Buffer.alloc(0))).toBe(true);
    expect((await userinfo(issuer, retry.access_token)).status).toBe(200);
    await refreshed(client, retry.refresh_token);
  } finally {
    holder.release(true);
    await node.dispose();
    folder.remove();
  }
});

test('a retry is told from the refresh before it in the audit trail, and no other refresh is', async () => {
  const client = await publicClient();
  const { parent } = await signedIn(client);
  const { refresh_token } = await refreshed(client, parent);
  await refreshed(client, parent, addressOf(1));
  await refreshed(client, refresh_token);
  const told = await until('all three are recorded', async () => {
    const events = await nodes[0].domains.audit.tail({ limit: 200, types: ['token.refreshed'] });
    const own = events.filter(({ clientId }) => clientId === client.id);
    return own.length === 3 && own.map(({ details }) => 'isRetry' in (details ?? {}));
  });
  expect(told.filter(Boolean)).toHaveLength(1);
});
