import type { Knex } from 'knex';

/**
 * Work that someone has asked for and that pg-boss has not taken over yet. A table of ours, so that it can be asked for in
 * any transaction, by a command as well, whether pg-boss has made its own tables or not.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('job_outbox', (table) => {
    table.uuid('id').primary().defaultTo(knex.raw('gen_random_uuid()'));
    table.text('queue').notNullable();
    table.jsonb('payload').notNullable();
    table.timestamp('asked_at', { useTz: true }).notNullable().defaultTo(knex.fn.now()).index();
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('job_outbox');
}
