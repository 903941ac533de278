import type { Domains } from '../../src/compose/index.ts';

/** Makes the server's secrets older by so many seconds, as if they had passed for the database and so for all nodes. */
export async function passForServerSecrets({ database }: Pick<Domains, 'database'>, seconds: number): Promise<void> {
  const earlier = (column: string) => database.knex.raw('?? - make_interval(secs => ?)', [column, seconds]);
  await database.knex('server_secrets').update({
    created_at: earlier('created_at'),
    activated_at: earlier('activated_at'),
    retired_at: earlier('retired_at'),
  });
}

/** Longer than the default KEY_ROTATION_INTERVAL, and than anything that was signed before is good for. */
const LONG_SECONDS = 100 * 24 * 60 * 60;

/** Lets the secrets that rotate take their next step: a new one is announced, or the announced one takes over. */
export async function advanceServerSecrets(domains: Pick<Domains, 'database' | 'serverSecrets'>): Promise<void> {
  await passForServerSecrets(domains, LONG_SECONDS);
  await domains.serverSecrets.advance();
}
