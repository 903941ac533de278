import { describeTime } from './describe-time.ts';
import type { PlaygroundRun } from './playground-pages.ts';
import { isRevoked, type Run, type RunKind } from './playground-sessions.ts';
import { clientOf, presentCalls } from './present-calls.ts';
import { presentTokens } from './present-tokens.ts';

/** Everything that a page shows of a run. @param options.now epoch milliseconds */
export function presentRun(kind: RunKind, run: Run, options: { issuer: string; now: number }): PlaygroundRun {
  const { tokens, resource, receivedAt, requests } = run;
  return {
    facts: [
      { term: 'Client', text: clientOf(kind).id, isCode: true },
      { term: 'Scopes of the access token', text: tokens.scope ?? 'none', isCode: tokens.scope !== undefined },
      { term: 'API', text: resource ?? 'none: the access token is for userinfo', isCode: resource !== undefined },
      ...endOf(run, options.now),
    ],
    receivedAt: describeTime(receivedAt, options.now),
    tokens: presentTokens(kind, run, options.now),
    calls: presentCalls(kind, run, options),
    requests: [...requests],
    canSignOut: kind === 'code',
  };
}

/** When the access token ends, or has ended. */
function endOf(run: Run, now: number): PlaygroundRun['facts'] {
  const { revocation, receivedAt, tokens } = run;
  const { expiresInSeconds, refreshToken } = tokens;
  if (revocation !== undefined && isRevoked(run)) {
    const what = refreshToken === undefined ? 'the access token' : 'the access token and the refresh token';
    return [{ term: 'Revoked', text: `${describeTime(revocation.at, now).relative}: ${what}` }];
  }
  if (expiresInSeconds === undefined) return [];
  const { relative } = describeTime(receivedAt + expiresInSeconds * 1_000, now);
  return [{ term: 'Access token expires', text: `${relative} (it was given ${expiresInSeconds} seconds)` }];
}
