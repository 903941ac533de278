import type { TimeView } from './playground-pages.ts';

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const exact = new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeStyle: 'long', timeZone: 'UTC' });

const STEPS = [
  { unit: 'second', seconds: 1, below: 60 },
  { unit: 'minute', seconds: 60, below: 60 * 60 },
  { unit: 'hour', seconds: 60 * 60, below: 48 * 60 * 60 },
  { unit: 'day', seconds: 24 * 60 * 60, below: Number.POSITIVE_INFINITY },
] as const;

/** @param at, now epoch milliseconds */
export function describeTime(at: number, now: number): TimeView {
  const seconds = Math.round((at - now) / 1_000);
  const step = STEPS.find(({ below }) => Math.abs(seconds) < below) ?? STEPS[3];
  return {
    iso: new Date(at).toISOString(),
    exact: exact.format(at),
    relative: relative.format(Math.round(seconds / step.seconds), step.unit),
  };
}
