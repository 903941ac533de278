/**
 * Does several works of one task, so that none waits in vain for another that fails.
 *
 * @throws what the one that failed has thrown; where several did, an AggregateError with all of it
 */
export async function doAll(works: readonly (() => Promise<void>)[]): Promise<void> {
  const outcomes = await Promise.allSettled(works.map((work) => work()));
  const faults = outcomes.filter((outcome) => outcome.status === 'rejected').map(({ reason }): unknown => reason);
  if (faults.length === 1) throw faults[0];
  if (faults.length > 1) throw new AggregateError(faults, faults.map(String).join('; '));
}
