import createKnex, { type Knex } from 'knex';
import type { Adapter, AdapterFactory, AdapterPayload } from 'oidc-provider';

const TABLE = 'knex_artifacts';

type Row = { payload: AdapterPayload; consumed_at: Date | null };

/** Makes the table of the plain adapter, with the indexes that its queries want. */
export async function createKnexTable(knex: Knex): Promise<void> {
  await knex.schema.createTable(TABLE, (table) => {
    table.text('id').notNullable();
    table.text('model').notNullable();
    table.jsonb('payload').notNullable();
    table.text('grant_id').index();
    table.text('user_code').index();
    table.text('uid').index();
    table.timestamp('expires_at').index();
    table.timestamp('consumed_at');
    table.primary(['id', 'model']);
  });
}

/**
 * The adapter as it is written everywhere: one query per call, on connections as many as the server's own two pools have
 * together. Values stand in the table as they are.
 */
export function createKnexAdapter(url: string, poolSize: number): { adapter: AdapterFactory; close(): Promise<void> } {
  const knex = createKnex({ client: 'pg', connection: url, pool: { min: 0, max: poolSize } });
  const found = (row: Row | undefined): AdapterPayload | undefined =>
    row && { ...row.payload, ...(row.consumed_at === null ? undefined : { consumed: seconds(row.consumed_at) }) };

  const adapter: AdapterFactory = (model): Adapter => {
    const where = (column: Record<string, string>) => knex(TABLE).where({ ...column, model });
    return {
      async upsert(id, payload, expiresIn) {
        const row = {
          payload: JSON.stringify(payload),
          grant_id: payload.grantId ?? null,
          user_code: payload.userCode ?? null,
          uid: payload.uid ?? null,
          expires_at: expiresIn === undefined ? null : new Date(Date.now() + expiresIn * 1_000),
        };
        await knex(TABLE)
          .insert({ id, model, ...row })
          .onConflict(['id', 'model'])
          .merge(row);
      },
      find: async (id) => found(await where({ id }).first<Row>()),
      findByUid: async (uid) => found(await where({ uid }).first<Row>()),
      findByUserCode: async (userCode) => found(await where({ user_code: userCode }).first<Row>()),
      async consume(id) {
        await where({ id }).update({ consumed_at: new Date() });
      },
      async destroy(id) {
        await where({ id }).delete();
      },
      async revokeByGrantId(grantId) {
        await where({ grant_id: grantId }).delete();
      },
    };
  };
  return { adapter, close: () => knex.destroy() };
}

function seconds(date: Date): number {
  return Math.floor(date.getTime() / 1_000);
}
