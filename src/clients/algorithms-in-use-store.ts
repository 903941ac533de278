import type { Knex } from 'knex';

/**
 * Every algorithm that something is to be signed with because an API or a client is registered for it. RS256 always: ID
 * tokens of clients that name none (OpenID Connect Dynamic Client Registration 1.0, section 2).
 */
export async function algorithmsInUse(knex: Knex): Promise<string[]> {
  const { rows } = await knex.raw<{ rows: { algorithm: string }[] }>(
    `select 'RS256' as algorithm
     union select signing_algorithm from apis where token_format = 'jwt'
     union select value from clients, jsonb_each_text(metadata) where key like '%\\_signed\\_response\\_alg'`,
  );
  return rows.map(({ algorithm }) => algorithm);
}
