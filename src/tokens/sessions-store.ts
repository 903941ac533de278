import type { StatementRunner } from './artifact-statements-store.ts';

/** A client that took part in a session; `sid` is what its ID tokens name the session by. */
export type SessionClient = { clientId: string; sid: string | undefined };

/** Every client of every session that an account has at `now` (epoch ms). */
export async function sessionClientsOf(
  pool: StatementRunner,
  accountId: string,
  now: number,
): Promise<readonly SessionClient[]> {
  const { rows } = await pool.query<{ client_id: string; sid: string | null }>({
    text: `select taking_part.key as client_id, taking_part.value->>'sid' as sid
           from artifacts cross join lateral json_each(payload->'authorizations') as taking_part
           where account_id = $1 and kind = 'Session' and destroyed_at is null and expires_at > $2::timestamptz`,
    values: [accountId, new Date(now).toISOString()],
  });
  return rows.map(({ client_id, sid }) => ({ clientId: client_id, sid: sid ?? undefined }));
}
