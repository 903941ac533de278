import type { Knex } from 'knex';
import type { ApiKeyOwner } from './api-key.ts';
import type { ApiKeyUsage } from './api-key-use.ts';
import { ownerColumns } from './api-keys-store.ts';
import type { QuotaWindow } from './quota-window.ts';

/** What one process has allowed of one key since it wrote last. */
export type ApiKeyIncrements = Readonly<{
  id: string;
  window: QuotaWindow;
  /** Within the window. */
  used: number;
  /** Epoch milliseconds. */
  lastUsedAt: number;
  lastUsedFrom: string | undefined;
  days: readonly Omit<ApiKeyUsage, 'id'>[];
}>;

/** What all processes have written of a key, of the window that the database has. */
export type ApiKeyTotal = Readonly<{ id: string; window: QuotaWindow; used: number }>;

/**
 * Adds what was used, for all of these keys in one statement. It locks the keys' own rows first, in the order of their ids,
 * as whoever deletes them does: nobody waits for anybody in a circle, and what belongs to a key that is gone is dropped.
 *
 * A window that is over takes nothing from the one that follows it; another length of window begins to count anew.
 */
const ADD_INCREMENTS = `
  with given as (
    select * from unnest(?::text[], ?::int[], ?::timestamptz[], ?::bigint[], ?::timestamptz[], ?::text[])
      as g (key_id, window_seconds, window_start, used, last_used_at, last_used_from)
  ), days as (
    select * from unnest(?::text[], ?::text[], ?::date[], ?::bigint[]) as d (key_id, api, day, requests)
  ), living as (
    select id from api_keys where id in (select key_id from given) order by id for key share
  ), counted as (
    insert into api_key_counters as c (key_id, window_seconds, window_start, used, last_used_at, last_used_from)
    select key_id, window_seconds, window_start, used, last_used_at, nullif(last_used_from, '')
      from given join living on id = key_id order by key_id
    on conflict (key_id) do update set
      used = case
        when c.window_seconds <> excluded.window_seconds or c.window_start < excluded.window_start then excluded.used
        when c.window_start = excluded.window_start then c.used + excluded.used
        else c.used
      end,
      window_start = case
        when c.window_seconds <> excluded.window_seconds then excluded.window_start
        else greatest(c.window_start, excluded.window_start)
      end,
      window_seconds = excluded.window_seconds,
      last_used_at = greatest(c.last_used_at, excluded.last_used_at),
      last_used_from = case
        when excluded.last_used_at >= c.last_used_at then excluded.last_used_from
        else c.last_used_from
      end
    returning key_id, window_seconds, extract(epoch from window_start)::bigint as starts_at, used
  ), by_day as (
    insert into api_key_usage as u (key_id, api, day, requests)
    select key_id, api, day, requests from days join living on id = key_id order by key_id, day, api
    on conflict (key_id, day, api) do update set requests = u.requests + excluded.requests
  )
  select key_id, window_seconds, starts_at, used from counted`;

/** @param increments at most one per key @returns the totals of the keys that are there */
export async function addIncrements(knex: Knex, increments: readonly ApiKeyIncrements[]): Promise<ApiKeyTotal[]> {
  const days = increments.flatMap(({ id, days: ofKey }) => ofKey.map((day) => ({ ...day, id })));
  type Row = { key_id: string; window_seconds: number; starts_at: string; used: string };
  const { rows } = await knex.raw<{ rows: Row[] }>(ADD_INCREMENTS, [
    increments.map(({ id }) => id),
    increments.map(({ window }) => window.windowSeconds),
    increments.map(({ window }) => new Date(window.startsAt * 1_000).toISOString()),
    increments.map(({ used }) => used),
    increments.map(({ lastUsedAt }) => new Date(lastUsedAt).toISOString()),
    increments.map(({ lastUsedFrom }) => lastUsedFrom ?? ''),
    days.map(({ id }) => id),
    days.map(({ api }) => api ?? ''),
    days.map(({ day }) => day),
    days.map(({ requests }) => requests),
  ]);
  return rows.map(({ key_id: id, window_seconds: windowSeconds, starts_at: startsAt, used }) => ({
    id,
    window: { windowSeconds, startsAt: Number(startsAt) },
    used: Number(used),
  }));
}

/** In the order of days, keys and APIs. @param days the first and the last, as 2026-11-25 */
export async function readUsage(
  knex: Knex,
  whose: { id: string } | { owner: ApiKeyOwner },
  days: { from: string; to: string },
): Promise<ApiKeyUsage[]> {
  type Row = { key_id: string; api: string; day: string; requests: string };
  const rows: Row[] = await knex('api_key_usage')
    .select('key_id', 'api', knex.raw('day::text as day'), 'requests')
    .whereBetween('day', [days.from, days.to])
    .where((query) => {
      if ('id' in whose) query.where({ key_id: whose.id });
      else query.whereIn('key_id', knex('api_keys').where(ownerColumns(whose.owner)).select('id'));
    })
    .orderByRaw('day, key_id collate "C", api collate "C"');
  return rows.map(({ key_id: id, api, day, requests }) => ({
    id,
    ...(api === '' ? {} : { api }),
    day,
    requests: Number(requests),
  }));
}

/**
 * Removes counts of days before one, in one bounded batch.
 *
 * @param batch.before as 2026-11-25
 * @returns how many rows were removed, at most `batch.size`
 */
export async function deleteUsageBefore(knex: Knex, batch: { size: number; before: string }): Promise<number> {
  const result = await knex.raw<{ rowCount: number | null }>(
    `delete from api_key_usage where (key_id, day, api) in (
       select key_id, day, api from api_key_usage where day < ? order by day limit ? for update skip locked
     )`,
    [batch.before, batch.size],
  );
  return result.rowCount ?? 0;
}
