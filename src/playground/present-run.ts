import { describeTime } from './describe-time.ts';
import type { PlaygroundRun } from './playground-pages.ts';
import type { Run, RunKind } from './playground-sessions.ts';
import { clientOf, presentCalls } from './present-calls.ts';
import { presentTokens } from './present-tokens.ts';

/** Everything that a page shows of a run. @param options.now epoch milliseconds */
export function presentRun(kind: RunKind, run: Run, options: { issuer: string; now: number }): PlaygroundRun {
  const { tokens, resource, receivedAt, requests } = run;
  const { expiresInSeconds } = tokens;
  const expiry = expiresInSeconds === undefined ? undefined : receivedAt + expiresInSeconds * 1_000;
  return {
    facts: [
      { term: 'Client', text: clientOf(kind).id, isCode: true },
      { term: 'Scopes of the access token', text: tokens.scope ?? 'none', isCode: tokens.scope !== undefined },
      { term: 'API', text: resource ?? 'none: the access token is for userinfo', isCode: resource !== undefined },
      ...(expiry === undefined
        ? []
        : [
            {
              term: 'Access token expires',
              text: `${describeTime(expiry, options.now).relative} (it was given ${expiresInSeconds} seconds)`,
            },
          ]),
    ],
    receivedAt: describeTime(receivedAt, options.now),
    tokens: presentTokens(kind, run, options.now),
    calls: presentCalls(kind, run, options),
    requests: [...requests],
    canSignOut: kind === 'code',
  };
}
