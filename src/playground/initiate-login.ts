import type { Context } from 'koa';
import { z } from 'zod';
import { formOf } from '../http/index.ts';
import { demoClients } from './demo-data.ts';
import type { PlaygroundParts } from './playground-parts.ts';
import { CALLBACK_PATH, RUN_PATHS } from './playground-paths.ts';
import { remember } from './playground-sessions.ts';
import { seeOther } from './see-other.ts';
import { showFailure } from './show-run.ts';

const SCOPE = 'openid profile email';
/** Pages of the client that a sign-in may lead to. */
const TARGETS: ReadonlySet<string> = new Set(['/', ...Object.values(RUN_PATHS)]);

const requestSchema = z.object({
  iss: z.string('names the issuer, and is missing').max(2_048),
  login_hint: z.string().max(256).optional(),
  target_link_uri: z.string().max(2_048).optional(),
});

/**
 * Starts a sign-in that somebody else asks for (OpenID Connect Core 1.0, section 4): by GET or POST, from any site, hence
 * without a CSRF token. All that it can do is what a link to the first page can, for the answer is bound to this browser
 * by `state`, and it leads to pages of this client alone.
 */
export async function initiateLogin(context: Context, parts: PlaygroundParts): Promise<void> {
  const { issuer } = parts;
  const parsed = requestSchema.safeParse(context.method === 'POST' ? formOf(context) : { ...context.query });
  const refuse = (description: string) => showFailure('code', { code: 'invalid_request', description }, context, parts);
  if (!parsed.success) {
    const [fault] = parsed.error.issues;
    return refuse(`${String(fault?.path[0])} ${fault?.message}`);
  }
  const { iss, login_hint: loginHint, target_link_uri: target } = parsed.data;
  // Sent elsewhere, the person would sign in where an attacker wants them to.
  if (iss !== issuer) return refuse('iss names an issuer that this client does not know');
  const targetPath = target === undefined ? undefined : pathAt(issuer, target);
  if (target !== undefined && targetPath === undefined) return refuse('target_link_uri is no page of this client');
  const parameters = { scope: SCOPE, ...(loginHint && { login_hint: loginHint }) };
  const redirectUri = `${issuer}${CALLBACK_PATH}`;
  const started = await parts.client.startCodeFlow(demoClients.web, { redirectUri, parameters });
  const session = parts.sessions.open(context);
  if (started.ok) remember(session, { ...started.value, targetPath });
  else session.runs.set('code', { failure: started.failure });
  seeOther(context, started.ok ? started.value.url : RUN_PATHS.code);
}

/** The path of a page of ours; undefined for anything else. */
function pathAt(issuer: string, target: string): string | undefined {
  const url = URL.parse(target);
  return url?.origin === issuer && TARGETS.has(url.pathname) ? url.pathname : undefined;
}
