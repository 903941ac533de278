import type { Context } from 'koa';
import { formOf } from '../http/index.ts';
import type { PlaygroundParts } from './playground-parts.ts';
import { RUN_PATHS } from './playground-paths.ts';
import type { Run, RunKind } from './playground-sessions.ts';
import { clientOf, introspectorOf } from './present-calls.ts';
import { seeOther } from './see-other.ts';

type Call = 'userinfo' | 'introspect' | 'refresh' | 'revoke';
type Work = (kind: RunKind, run: Run, parts: PlaygroundParts, token: string | undefined) => Promise<Run>;

const calls: Readonly<Record<Call, { section: string; work: Work }>> = {
  userinfo: { section: 'userinfo', work: askUserinfo },
  introspect: { section: 'introspection', work: introspect },
  refresh: { section: 'refresh', work: refresh },
  revoke: { section: 'revocation', work: revoke },
};

/** Does one thing with the tokens of the last run, and keeps the answer to show. Without a run there is nothing to do. */
export async function callEndpoint(kind: RunKind, name: Call, context: Context, parts: PlaygroundParts): Promise<void> {
  const form = formOf(context);
  parts.csrf.verify(context, form);
  const runs = parts.sessions.find(context)?.runs;
  const run = runs?.get(kind)?.run;
  const { section, work } = calls[name];
  if (run !== undefined) runs?.set(kind, { run: await work(kind, run, parts, form.token) });
  seeOther(context, `${RUN_PATHS[kind]}#${section}`);
}

async function askUserinfo(kind: RunKind, run: Run, { client }: PlaygroundParts): Promise<Run> {
  return { ...run, userinfo: await client.userinfo(clientOf(kind), run.tokens) };
}

async function introspect(kind: RunKind, run: Run, { client }: PlaygroundParts): Promise<Run> {
  const answer = await client.introspect(introspectorOf(kind, run), run.tokens.accessToken);
  return run.revocation === undefined
    ? { ...run, introspectionBefore: answer }
    : { ...run, introspectionAfter: answer };
}

/** New tokens: what was answered about those before is no longer true of them. */
async function refresh(kind: RunKind, run: Run, { client, clock }: PlaygroundParts): Promise<Run> {
  const result = await client.refresh(clientOf(kind), run.tokens, run.resource);
  const at = clock();
  if (!result.ok) {
    const { code, description, status = 0 } = result.failure;
    const body = { error: code, error_description: description };
    return { ...run, refresh: { status, body, at, isRotated: false } };
  }
  const { expiresInSeconds, scope } = result.value;
  const isRotated = result.value.refreshToken !== run.tokens.refreshToken;
  return {
    tokens: result.value,
    resource: run.resource,
    receivedAt: at,
    requests: run.requests,
    // The tokens themselves stand above, decoded.
    refresh: { status: 200, body: { token_type: 'Bearer', expires_in: expiresInSeconds, scope }, at, isRotated },
  };
}

/** Introspects before and after, so that the page shows what has changed. */
async function revoke(kind: RunKind, run: Run, parts: PlaygroundParts, token: string | undefined): Promise<Run> {
  const { accessToken, refreshToken } = run.tokens;
  const isRefresh = token === 'refresh_token' && refreshToken !== undefined;
  const before = run.introspectionBefore === undefined ? await introspect(kind, run, parts) : run;
  const answer = await parts.client.revoke(clientOf(kind), isRefresh ? refreshToken : accessToken);
  const revocation = { ...answer, token: isRefresh ? 'refresh_token' : 'access_token' } as const;
  return introspect(kind, { ...before, revocation }, parts);
}
