/** A worker that lived so long was sound: that it died is no reason to wait. */
export const SOUND_AFTER_MS = 10_000;

const FIRST_PAUSE_MS = 250;
/** Long enough to leave the machine alone, short enough to be there soon when the cause has gone. */
const LONGEST_PAUSE_MS = 30_000;

/**
 * How long a replacement waits, in milliseconds, so that workers that die at once after their start don't keep the
 * machine busy with starting.
 *
 * @param earlyDeaths how many have died young, one after another; 0: the last one had lived for long
 */
export function pauseBeforeReplacement(earlyDeaths: number): number {
  return earlyDeaths === 0 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (earlyDeaths - 1), LONGEST_PAUSE_MS);
}
