import type { Knex } from 'knex';

/**
 * When each version of a server secret was first and last the one in use. Neither: it is announced, so that every node
 * knows it before one uses it. What is there already has been in use from the start.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('server_secrets', (table) => {
    table.timestamp('activated_at', { useTz: true });
    table.timestamp('retired_at', { useTz: true });
  });
  await knex.raw(
    `update server_secrets set activated_at = created_at, retired_at = (
       select min(newer.created_at) from server_secrets newer
       where newer.name = server_secrets.name and newer.version > server_secrets.version
     )`,
  );
  // Two nodes can't use different versions for new values, whatever their code does.
  await knex.raw(`create unique index server_secrets_one_active on server_secrets (name)
                  where activated_at is not null and retired_at is null`);
  await knex.raw(`create unique index server_secrets_one_next on server_secrets (name) where activated_at is null`);
}

/** Drops what was announced and never used: to the code before, the newest version is the one in use. */
export async function down(knex: Knex): Promise<void> {
  await knex('server_secrets').whereNull('activated_at').delete();
  await knex.schema.alterTable('server_secrets', (table) => {
    table.dropColumn('activated_at');
    table.dropColumn('retired_at');
  });
}
