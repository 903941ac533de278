const DAY_MS = 24 * 60 * 60 * 1_000;

let latest = { number: Number.NaN, day: '' };

/** The day (UTC) of a moment, as counts of uses have it: 2026-11-25. @param at epoch milliseconds */
export function toDay(at: number): string {
  const number = Math.floor(at / DAY_MS);
  // It is asked for at every use of a key.
  if (number !== latest.number) latest = { number, day: new Date(at).toISOString().slice(0, '2026-11-25'.length) };
  return latest.day;
}
