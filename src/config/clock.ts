/** Epoch milliseconds. Passed in wherever time matters, so that tests own the time. */
export type Clock = () => number;

export const systemClock: Clock = Date.now;
