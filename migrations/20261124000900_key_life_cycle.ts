import type { Knex } from 'knex';

/**
 * When signing keys were published, retired and revoked, which decides what is due next; and the algorithms that an
 * operator may add to RS256 and ES256.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('signing_keys', (table) => {
    // A node of the version before, which knows nothing of it, goes on making keys.
    table.timestamp('announced_at').notNullable().defaultTo(knex.fn.now());
    table.timestamp('retired_at');
    table.timestamp('revoked_at');
  });
  await knex('signing_keys').update({ announced_at: knex.ref('created_at') });
  await knex('signing_keys').where({ state: 'retired' }).update({ retired_at: knex.fn.now() });
  await knex('signing_keys').where({ state: 'revoked' }).update({ revoked_at: knex.fn.now() });
  await allowAlgorithms(knex, ['RS256', 'ES256', 'PS256', 'EdDSA']);
}

/**
 * Keys of the algorithms that the version before doesn't know go. APIs and clients that asked for one get RS256: with what it
 * doesn't know a client would be of no use there at all.
 */
export async function down(knex: Knex): Promise<void> {
  const known = ['RS256', 'ES256'];
  await knex.raw(
    `update clients set metadata = metadata || anew.members, revision = revision + 1
     from (
       select id, jsonb_object_agg(key, 'RS256') as members from clients, jsonb_each_text(metadata)
       where key like '%\\_signed\\_response\\_alg' and value <> all (:known)
       group by id
     ) anew
     where anew.id = clients.id`,
    { known },
  );
  await knex('signing_keys').whereNotIn('algorithm', known).delete();
  await knex('apis').whereNotIn('signing_algorithm', known).update({ signing_algorithm: 'RS256' });
  await allowAlgorithms(knex, known);
  await knex.schema.alterTable('signing_keys', (table) => {
    table.dropColumns('announced_at', 'retired_at', 'revoked_at');
  });
}

async function allowAlgorithms(knex: Knex, algorithms: readonly string[]): Promise<void> {
  const list = algorithms.map((algorithm) => `'${algorithm}'`).join(', ');
  await knex.raw(`alter table signing_keys drop constraint signing_keys_algorithm,
    add constraint signing_keys_algorithm check (algorithm in (${list}))`);
  await knex.raw(`alter table apis drop constraint apis_signing_algorithm_check,
    add constraint apis_signing_algorithm_check check (signing_algorithm in (${list}))`);
}
