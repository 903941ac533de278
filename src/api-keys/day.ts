/** The day (UTC) of a moment, as counts of uses have it: 2026-11-25. @param at epoch milliseconds */
export function toDay(at: number): string {
  return new Date(at).toISOString().slice(0, '2026-11-25'.length);
}
