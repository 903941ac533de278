import type { IncomingMessage } from 'node:http';

/** What became of a request, gathered along its way for its log line and its metrics. Holds nothing that grants access. */
export type RequestOutcome = {
  /** By which the request is found in the log; people are shown it with an error. */
  requestId?: string | undefined;
  clientId?: string | undefined;
  grantType?: string | undefined;
  /** The OAuth error code of the answer. */
  error?: string | undefined;
  /** Why a request was refused, where that may be nothing that its client has done; for the log alone. */
  reason?: string | undefined;
  /** The fault behind a 5xx answer, for the log alone. */
  fault?: unknown;
};

const outcomes = new WeakMap<IncomingMessage, RequestOutcome>();

/** The outcome of this request, to be read or added to. */
export function outcomeOf(request: IncomingMessage): RequestOutcome {
  let outcome = outcomes.get(request);
  if (outcome === undefined) {
    outcome = {};
    outcomes.set(request, outcome);
  }
  return outcome;
}
