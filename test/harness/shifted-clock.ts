/** Loaded before a server (`node --import`): its clock is `CLOCK_SHIFT_MS` ahead of the machine's, or behind where it is negative. */
const shiftMs = Number(process.env.CLOCK_SHIFT_MS);
if (!Number.isSafeInteger(shiftMs)) throw new Error('CLOCK_SHIFT_MS wants whole milliseconds');

const Unshifted = Date;
const now = () => Unshifted.now() + shiftMs;

/** Only what asks for the time of now is another; dates that are given are what they are. */
globalThis.Date = new Proxy(Unshifted, {
  construct: (target, given, newTarget) => Reflect.construct(target, given.length === 0 ? [now()] : given, newTarget),
  apply: () => new Unshifted(now()).toString(),
  get: (target, member, receiver) => (member === 'now' ? now : Reflect.get(target, member, receiver)),
});

export {};
