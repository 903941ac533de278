import type { Knex } from 'knex';

/**
 * What ends a stateless token before its time: the id of one (`token`), or a mark that ends all that were issued to a client
 * or for an account before `revision`. Nodes hold all of it in memory and read on from the revision that they know.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('revocations', (table) => {
    table.text('kind').notNullable().checkIn(['token', 'client', 'account']);
    table.text('value').notNullable();
    table.text('client_id').comment('of a token: to whom it was issued');
    table.check("(kind = 'token') = (client_id is not null)");
    table.bigInteger('revision').notNullable();
    table.timestamp('expires_at', { useTz: true }).notNullable().index();
    table.timestamp('revoked_at', { useTz: true }).notNullable();
    table.primary(['kind', 'value']);
    table.index(['revision', 'kind', 'value']);
    table.index(['client_id']);
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('revocations');
}
