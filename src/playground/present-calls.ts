import { STATUS_CODES } from 'node:http';
import { curlCommand } from './curl.ts';
import { demoClients } from './demo-data.ts';
import { describeTime } from './describe-time.ts';
import { explainFailure } from './explain-failure.ts';
import type { PlaygroundAnswer, PlaygroundCall } from './playground-pages.ts';
import { RUN_PATHS } from './playground-paths.ts';
import { type Answer, isRevoked, type Run, type RunKind } from './playground-sessions.ts';

/** Who the tokens of a run were issued to: alone in being allowed to refresh and to revoke them. */
export function clientOf(kind: RunKind): { id: string; secret: string } {
  return kind === 'code' ? demoClients.web : demoClients.service;
}

/** An API introspects by the client registered for it; a token for userinfo is known to its own client alone. */
export function introspectorOf(kind: RunKind, run: Run): { id: string; secret: string } {
  return run.resource === undefined ? clientOf(kind) : demoClients.service;
}

/** What can be done with the tokens of a run, and what came of it. @param now epoch milliseconds */
export function presentCalls(kind: RunKind, run: Run, options: { issuer: string; now: number }): PlaygroundCall[] {
  const { issuer, now } = options;
  const answer = (label: string, given: Answer | undefined, note: (given: Answer) => string) =>
    given === undefined ? [] : [present(label, given, note(given), now)];
  const { accessToken, refreshToken } = run.tokens;
  const calls: PlaygroundCall[] = [];
  if (kind === 'code') {
    calls.push({
      id: 'userinfo',
      title: 'Userinfo',
      text: 'Who the person is, as far as the scopes allow: the client asks with the access token.',
      action: `${RUN_PATHS[kind]}/userinfo`,
      ...whileAlive(
        run,
        [{ label: 'Ask userinfo', kind: 'secondary' }],
        'The access token is revoked. With curl you can see how userinfo refuses it.',
      ),
      commands: [
        { label: 'Userinfo with curl', code: curlCommand({ url: `${issuer}/userinfo`, bearerToken: accessToken }) },
      ],
      answers: answer('Answer', run.userinfo, (given) => userinfoNote(given, run)),
    });
  }
  const introspector = introspectorOf(kind, run);
  calls.push({
    id: 'introspection',
    title: 'Introspection',
    text:
      run.resource === undefined
        ? 'What the access token stands for. It names no API, so its own client alone is told.'
        : `What the access token stands for, as ${introspector.id} asks on behalf of ${run.resource}.`,
    action: `${RUN_PATHS[kind]}/introspect`,
    buttons: [{ label: 'Introspect the access token', kind: 'secondary' }],
    commands: [
      {
        label: 'Introspection with curl',
        code: curlCommand({ url: `${issuer}/introspect`, client: introspector, form: { token: accessToken } }),
      },
    ],
    answers: [
      ...answer(run.revocation === undefined ? 'Answer' : 'Before', run.introspectionBefore, introspectionNote),
      ...answer(
        run.revocation?.status === 200 ? 'After revocation' : 'After the attempt',
        run.introspectionAfter,
        introspectionNote,
      ),
    ],
  });
  if (refreshToken !== undefined) {
    calls.push({
      id: 'refresh',
      title: 'Refresh',
      text: 'Trades the refresh token for a new access token, without the person.',
      action: `${RUN_PATHS[kind]}/refresh`,
      ...whileAlive(
        run,
        [{ label: 'Get new tokens', kind: 'secondary' }],
        'The refresh token is revoked: there are no new tokens for it.',
      ),
      commands: [
        {
          label: 'Refresh with curl',
          code: curlCommand({
            url: `${issuer}/token`,
            client: clientOf(kind),
            form: { grant_type: 'refresh_token', refresh_token: refreshToken, resource: run.resource },
          }),
        },
      ],
      answers: answer('Answer', run.refresh, (given) => refreshNote(given, run.refresh?.isRotated ?? false)),
    });
  }
  calls.push(revocationCall(kind, run, options));
  return calls;
}

function revocationCall(kind: RunKind, run: Run, { issuer, now }: { issuer: string; now: number }): PlaygroundCall {
  const { accessToken, refreshToken } = run.tokens;
  const command = (label: string, token: string) => ({
    label,
    code: curlCommand({ url: `${issuer}/revoke`, client: clientOf(kind), form: { token } }),
  });
  const { revocation } = run;
  return {
    id: 'revocation',
    title: 'Revocation',
    text:
      kind === 'code'
        ? 'Ends a token, and with it whatever hangs on the same grant. The playground introspects the access token before and after.'
        : 'Ends the access token. The playground introspects it before and after.',
    action: `${RUN_PATHS[kind]}/revoke`,
    ...whileAlive(
      run,
      [
        { label: 'Revoke the access token', kind: 'danger', value: 'access_token' },
        ...(refreshToken === undefined
          ? []
          : [{ label: 'Revoke the refresh token', kind: 'danger', value: 'refresh_token' } as const]),
      ],
      'Nothing is left to revoke.',
    ),
    commands: [
      command('Revocation of the access token with curl', accessToken),
      ...(refreshToken === undefined ? [] : [command('Revocation of the refresh token with curl', refreshToken)]),
    ],
    answers:
      revocation === undefined
        ? []
        : [
            {
              ...present(
                revocation.token === 'access_token' ? 'The access token' : 'The refresh token',
                revocation,
                revocationNote(revocation),
                now,
              ),
              link: { href: '#introspection', label: 'See the introspection before and after' },
            },
          ],
  };
}

/** What can be done with tokens that count, or that it is over. */
function whileAlive(
  run: Run,
  buttons: PlaygroundCall['buttons'],
  over: string,
): Pick<PlaygroundCall, 'buttons' | 'over'> {
  return isRevoked(run) ? { buttons: [], over } : { buttons };
}

function present(label: string, { status, body, at }: Answer, note: string, now: number): PlaygroundAnswer {
  return {
    label,
    status: status === 0 ? 'No answer' : `${status} ${STATUS_CODES[status] ?? ''}`.trim(),
    isError: status !== 200,
    body: body === undefined ? '' : JSON.stringify(body, null, 2),
    note,
    at: describeTime(at, now),
  };
}

function errorOf({ body }: Answer): string {
  return String((body as { error?: unknown }).error);
}

function errorNote(given: Answer): string {
  const { meaning, advice } = explainFailure({ code: errorOf(given) });
  return `${meaning} ${advice}`;
}

function userinfoNote(given: Answer, { resource }: Run): string {
  if (given.status === 200) return 'The subject is the same as in the ID token: the client has checked that.';
  if (given.status !== 401 && given.status !== 403) return errorNote(given);
  return resource === undefined
    ? 'The access token is no longer valid: it has expired or was revoked.'
    : `Userinfo accepts only tokens that name no API, and this one is for ${resource}: one token, one audience. Start a flow without an API to be told.`;
}

function introspectionNote(given: Answer): string {
  if (given.status !== 200) return errorNote(given);
  return (given.body as { active?: unknown }).active === true
    ? 'The token is alive.'
    : 'Dead, or not for the caller to know: the answer says no more than that (RFC 7662, section 2.2).';
}

const DEAD_REFRESH_TOKEN =
  'The refresh token is dead: it has expired, was revoked or used up, or its grant has ended. A public client’s is used up by a refresh and replaced. For REFRESH_TOKEN_LEEWAY seconds after that it may come again, as a retry; later it counts as stolen, and its whole grant ends. Start a new flow to get another.';

function refreshNote(given: Answer, isRotated: boolean): string {
  if (given.status !== 200) return errorOf(given) === 'invalid_grant' ? DEAD_REFRESH_TOKEN : errorNote(given);
  return isRotated
    ? 'The tokens above are new, the refresh token too: the one before is spent.'
    : 'The access token above is new. The refresh token stayed: it rotates for public clients, and this one proves itself by its secret.';
}

function revocationNote(given: Answer): string {
  return given.status === 200 ? 'Done. The answer is empty by design (RFC 7009, section 2.2).' : errorNote(given);
}
