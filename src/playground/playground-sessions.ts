import { randomBytes } from 'node:crypto';
import type { Context } from 'koa';
import type { Clock } from '../config/index.ts';

/** An authorization request that has not been answered yet. */
export type PendingFlow = Readonly<{
  codeVerifier: string;
  state: string;
  /** Only where an ID token is asked for. */
  nonce: string | undefined;
  parameters: Readonly<Record<string, string>>;
  url: string;
  /** The page to go to afterwards, where whoever started the flow named one of ours. */
  targetPath?: string | undefined;
}>;

export type Tokens = Readonly<{
  accessToken: string;
  idToken?: string | undefined;
  refreshToken?: string | undefined;
  scope?: string | undefined;
  /** Seconds, as the server said when it issued the access token. */
  expiresInSeconds?: number | undefined;
}>;

/** What an endpoint answered. */
export type Answer = Readonly<{ status: number; body: unknown; at: number }>;

export type Failure = Readonly<{ code: string; description?: string | undefined }>;

/** One way to tokens, and what was done with them since. Times are epoch milliseconds. */
export type Run = Readonly<{
  tokens: Tokens;
  resource?: string | undefined;
  receivedAt: number;
  /** The curl commands of what was sent, credentials and all. */
  requests: readonly { label: string; code: string; note?: string | undefined }[];
  userinfo?: Answer | undefined;
  introspectionBefore?: Answer | undefined;
  revocation?: (Answer & { token: 'access_token' | 'refresh_token' }) | undefined;
  introspectionAfter?: Answer | undefined;
  refresh?: (Answer & { isRotated: boolean }) | undefined;
}>;

/** Whether the tokens of a run were revoked: one takes the grant along that it hangs on, and so all the others. */
export function isRevoked(run: Run): boolean {
  return run.revocation?.status === 200;
}

export type RunKind = 'code' | 'client-credentials';
type RunOrFailure = Readonly<{ run: Run; failure?: undefined } | { run?: undefined; failure: Failure }>;

export type PlaygroundSession = {
  readonly pending: Map<string, PendingFlow>;
  readonly runs: Map<RunKind, RunOrFailure>;
};

/** Longer than a person takes to sign in, shorter than anyone leaves their desk with tokens on the screen. */
const MAX_AGE_MS = 30 * 60 * 1_000;
/** More developers than share one server; memory must not grow with whoever calls. */
const MAX_SESSIONS = 200;
/** Tabs of one browser that sign in at once. */
const MAX_PENDING = 10;

/** What each browser does in the playground: in memory alone, because the tokens that it looks at belong nowhere else. */
export type PlaygroundSessions = Readonly<{
  find(context: Context): PlaygroundSession | undefined;
  open(context: Context): PlaygroundSession;
  end(context: Context): void;
}>;

export function createPlaygroundSessions(options: { clock: Clock; isSecure: boolean }): PlaygroundSessions {
  const { clock, isSecure } = options;
  const cookie = isSecure ? '__Secure-tessera_playground' : 'tessera_playground';
  const attributes = { httpOnly: true, sameSite: 'lax', secure: isSecure, path: '/playground' } as const;
  /** In the order of their last use. */
  const sessions = new Map<string, { session: PlaygroundSession; usedAt: number }>();

  function find(context: Context): PlaygroundSession | undefined {
    dropOld();
    const id = context.cookies.get(cookie) ?? '';
    const found = sessions.get(id);
    if (found !== undefined) keep(id, found.session);
    return found?.session;
  }

  function keep(id: string, session: PlaygroundSession): void {
    sessions.delete(id);
    sessions.set(id, { session, usedAt: clock() });
  }

  function dropOld(): void {
    for (const [id, { usedAt }] of sessions) {
      if (usedAt > clock() - MAX_AGE_MS && sessions.size <= MAX_SESSIONS) return;
      sessions.delete(id);
    }
  }

  return {
    find,
    open(context) {
      const found = find(context);
      if (found !== undefined) return found;
      const id = randomBytes(32).toString('base64url');
      const session: PlaygroundSession = { pending: new Map(), runs: new Map() };
      keep(id, session);
      dropOld();
      context.cookies.set(cookie, id, attributes);
      return session;
    },
    end(context) {
      sessions.delete(context.cookies.get(cookie) ?? '');
      context.cookies.set(cookie, null, attributes);
    },
  };
}

/** Remembers a flow until it is answered; the oldest makes room. */
export function remember(session: PlaygroundSession, flow: PendingFlow): void {
  session.pending.set(flow.state, flow);
  for (const state of session.pending.keys()) {
    if (session.pending.size <= MAX_PENDING) return;
    session.pending.delete(state);
  }
}

/** The flow that an answer belongs to, which is answered by it. */
export function takePending(
  session: PlaygroundSession | undefined,
  state: string | undefined,
): PendingFlow | undefined {
  const flow = session?.pending.get(state ?? '');
  if (flow !== undefined) session?.pending.delete(flow.state);
  return flow;
}
