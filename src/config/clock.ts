/** Epoch milliseconds. Passed in wherever time matters, so that tests own the time. */
export type Clock = () => number;

/** By how much the clocks of our nodes, and of those whose signed times we read, may differ. */
export const CLOCK_TOLERANCE_SECONDS = 15;

export const systemClock: Clock = Date.now;
