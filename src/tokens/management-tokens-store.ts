import type { StatementRunner } from './artifact-statements-store.ts';

/**
 * Ends the tokens by which a client manages its own registration (RFC 7592). Apart from `revokeAll`: a client whose tokens are
 * revoked is still there, and may go on managing itself.
 *
 * @returns how many ended
 */
export async function endManagementTokens(pool: StatementRunner, clientId: string): Promise<number> {
  const { rows } = await pool.query<{ id: Buffer }>({
    text: `delete from artifacts where client_id = $1 and kind = 'RegistrationAccessToken' returning id`,
    values: [clientId],
  });
  return rows.length;
}
