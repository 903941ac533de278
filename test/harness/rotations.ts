import type pg from 'pg';
import { digestOf } from '../../src/tokens/artifact-row.ts';

/** Lets it be longer ago that a refresh token was rotated: the leeway goes by the database's clock, which can't be set. */
export async function ageRotation(pool: pg.Pool, refreshToken: string | undefined, seconds: number): Promise<void> {
  const { rowCount } = await pool.query(
    'update artifacts set consumed_at = consumed_at - make_interval(secs => $2) where id = $1 and consumed_at is not null',
    [digestOf('RefreshToken', String(refreshToken)), seconds],
  );
  if (rowCount !== 1) throw new Error('that refresh token was not rotated');
}
