import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import * as openid from 'openid-client';
import type { Domains } from '../../src/compose/index.ts';
import { createTestClient } from '../harness/factories.ts';
import { type HttpServer, type Reply, startHttpServer } from './http-server.ts';

/** What the app keeps of one browser. */
type AppSession = {
  /** By state: tabs sign in at once. */
  pending: Map<string, { codeVerifier: string; nonce: string }>;
  idToken?: string;
  refreshToken?: string | undefined;
  apiToken?: string;
  error?: string;
  name?: string | undefined;
};

export type ThirdPartyApp = {
  origin: string;
  clientId: string;
  /** The access token for the API that the last person to sign in brought. */
  apiToken(): string;
  /** Gives back one of that person's tokens, and with it all of their grant (RFC 7009, section 2.1). */
  revoke(token: 'access_token' | 'refresh_token'): Promise<void>;
  /** How many answers came to `/callback`. */
  callbacks(): number;
  close(): Promise<void>;
};

const COOKIE = 'app_session';

/**
 * A web app as somebody else would write it on `openid-client`, with nothing but the issuer, its client id and its
 * secret: `/` (who is signed in), `/login`, `/callback`, `/logout`, `/signed-out`.
 */
export async function startThirdPartyApp(
  { issuer, domains }: { issuer: string; domains: Domains },
  options: { scope: string; resource?: string; name?: string; parameters?: Record<string, string> },
): Promise<ThirdPartyApp> {
  const sessions = new Map<string, AppSession>();
  let config: openid.Configuration;
  let latest: AppSession | undefined;
  let callbacks = 0;
  const server: HttpServer = await startHttpServer(async (url, request) => {
    const id = cookieOf(request) ?? randomUUID();
    const session = sessions.get(id) ?? { pending: new Map() };
    sessions.set(id, session);
    const reply = await (routes[url.pathname] ?? notFound)(session, url);
    return { ...reply, headers: { 'set-cookie': `${COOKIE}=${id}; HttpOnly; Path=/; SameSite=Lax`, ...reply.headers } };
  });
  const { origin } = server;
  const redirectUri = `${origin}/callback`;

  const routes: Record<string, (session: AppSession, url: URL) => Reply | Promise<Reply>> = {
    '/': ({ name, error }) =>
      page(error !== undefined ? `<p id="error">${error}</p>` : `<p id="name">${name ?? 'nobody'}</p>`),
    '/signed-out': (_session, url) => page(`<p id="signed-out">${url.searchParams.get('state')}</p>`),

    async '/login'(session) {
      const codeVerifier = openid.randomPKCECodeVerifier();
      const state = openid.randomState();
      const nonce = openid.randomNonce();
      session.pending.set(state, { codeVerifier, nonce });
      const url = openid.buildAuthorizationUrl(config, {
        redirect_uri: redirectUri,
        scope: options.scope,
        code_challenge: await openid.calculatePKCECodeChallenge(codeVerifier),
        code_challenge_method: 'S256',
        state,
        nonce,
        ...(options.resource === undefined ? undefined : { resource: options.resource }),
        ...options.parameters,
      });
      return redirectTo(url.href);
    },

    async '/callback'(session, url) {
      callbacks += 1;
      const state = url.searchParams.get('state') ?? '';
      const pending = session.pending.get(state);
      if (pending === undefined) return { status: 400, body: 'nobody asked' };
      const tokens = await openid
        .authorizationCodeGrant(config, url, {
          pkceCodeVerifier: pending.codeVerifier,
          expectedState: state,
          expectedNonce: pending.nonce,
          idTokenExpected: true,
        })
        .catch((error: unknown) => error as openid.AuthorizationResponseError);
      if (!('access_token' in tokens)) {
        session.error = tokens.error;
        return redirectTo('/');
      }
      const claims = tokens.claims();
      if (claims === undefined) throw new Error('no ID token');
      const person = await openid.fetchUserInfo(config, tokens.access_token, claims.sub);
      session.name = person.name;
      session.idToken = tokens.id_token ?? '';
      session.refreshToken = tokens.refresh_token;
      if (options.resource !== undefined && tokens.refresh_token !== undefined) {
        const forApi = await openid.refreshTokenGrant(config, tokens.refresh_token, { resource: options.resource });
        session.apiToken = forApi.access_token;
      }
      latest = session;
      return redirectTo('/');
    },

    '/logout'(session) {
      const url = openid.buildEndSessionUrl(config, {
        id_token_hint: session.idToken ?? '',
        post_logout_redirect_uri: `${origin}/signed-out`,
        state: 'bye',
      });
      for (const [id, one] of sessions) if (one === session) sessions.delete(id);
      return redirectTo(url.href);
    },
  };

  const client = await createTestClient(domains, {
    metadata: {
      client_name: options.name ?? 'Mosaic Mail',
      redirect_uris: [redirectUri],
      post_logout_redirect_uris: [`${origin}/signed-out`],
      scope: options.scope,
    },
  });
  config = await openid.discovery(new URL(issuer), client.id, client.secret, undefined, {
    execute: [openid.allowInsecureRequests],
  });

  return {
    origin,
    clientId: client.id,
    apiToken: () => latest?.apiToken ?? '',
    revoke: (token) =>
      openid.tokenRevocation(config, (token === 'access_token' ? latest?.apiToken : latest?.refreshToken) ?? ''),
    callbacks: () => callbacks,
    close: () => server.close(),
  };
}

function cookieOf(request: IncomingMessage): string | undefined {
  return new RegExp(`${COOKIE}=([\\w-]+)`).exec(request.headers.cookie ?? '')?.[1];
}

function redirectTo(location: string): Reply {
  return { status: 302, headers: { location } };
}

function page(body: string): Reply {
  return { body: `<!doctype html><html lang="en"><title>Mosaic Mail</title><h1>Mosaic Mail</h1>${body}</html>` };
}

function notFound(): Reply {
  return { status: 404, body: 'not found' };
}
