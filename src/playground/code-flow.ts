import type { Context } from 'koa';
import { formOf } from '../http/index.ts';
import { authorizationParameters, readPlaygroundForm } from './authorization-request.ts';
import { curlCommand } from './curl.ts';
import { demoClients } from './demo-data.ts';
import type { PlaygroundParts } from './playground-parts.ts';
import { CALLBACK_PATH, RUN_PATHS, SIGNED_OUT_PATH } from './playground-paths.ts';
import { type PendingFlow, type Run, remember, takePending } from './playground-sessions.ts';
import { seeOther } from './see-other.ts';
import { showFailure } from './show-run.ts';

/** Sends the browser to the authorization endpoint (RFC 6749, section 4.1.1), with PKCE, state and nonce. */
export async function startCodeFlow(context: Context, parts: PlaygroundParts): Promise<void> {
  const form = readPlaygroundForm(context.request.body);
  parts.csrf.verify(context, { _csrf: form._csrf });
  const parameters = authorizationParameters(form, parts.apis.all());
  const redirectUri = `${parts.issuer}${CALLBACK_PATH}`;
  const started = await parts.client.startCodeFlow(demoClients.web, { redirectUri, parameters });
  const session = parts.sessions.open(context);
  if (started.ok) remember(session, started.value);
  else session.runs.set('code', { failure: started.failure });
  seeOther(context, started.ok ? started.value.url : RUN_PATHS.code);
}

/** Takes the answer (RFC 6749, section 4.1.2), checks it, redeems the code, and shows what came of it elsewhere. */
export async function finishCodeFlow(context: Context, parts: PlaygroundParts): Promise<void> {
  const { clock, client, issuer, sessions } = parts;
  const answer = new URL(context.url, issuer);
  const session = sessions.find(context);
  const flow = takePending(session, answer.searchParams.get('state') ?? undefined);
  if (session === undefined || flow === undefined)
    return showFailure('code', { code: 'state_mismatch' }, context, parts);
  const finished = await client.finishCodeFlow(demoClients.web, flow, answer);
  session.runs.set(
    'code',
    finished.ok
      ? {
          run: {
            tokens: finished.value,
            resource: flow.parameters.resource,
            receivedAt: clock(),
            requests: requestsOf(flow, answer, issuer),
          },
        }
      : { failure: finished.failure },
  );
  // The code leaves the address bar.
  seeOther(context, (finished.ok && flow.targetPath) || RUN_PATHS.code);
}

/** RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0, section 2). No ID token goes into the address. */
export function signOut(context: Context, { csrf, issuer, sessions }: PlaygroundParts): void {
  csrf.verify(context, formOf(context));
  sessions.end(context);
  const parameters = new URLSearchParams({
    client_id: demoClients.web.id,
    post_logout_redirect_uri: `${issuer}${SIGNED_OUT_PATH}`,
  });
  seeOther(context, `${issuer}/logout?${parameters}`);
}

function requestsOf(flow: PendingFlow, answer: URL, issuer: string): Run['requests'] {
  const url = new URL(flow.url);
  const parameters = [...url.searchParams].map(([name, value]) => `  ${name}=${value}`);
  return [
    {
      label: 'The browser went to',
      code: [`${url.origin}${url.pathname}`, ...parameters].join('\n'),
      note: 'One parameter a line, decoded. The verifier behind code_challenge stayed with the client.',
    },
    {
      label: 'The client redeemed the code',
      code: curlCommand({
        url: `${issuer}/token`,
        client: demoClients.web,
        form: {
          grant_type: 'authorization_code',
          code: answer.searchParams.get('code') ?? '',
          redirect_uri: `${issuer}${CALLBACK_PATH}`,
          code_verifier: flow.codeVerifier,
          resource: flow.parameters.resource,
        },
      }),
      note: 'The code is spent. Sending it again is refused, and ends the tokens above too: a code that comes twice may have been stolen.',
    },
  ];
}
