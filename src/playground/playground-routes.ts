import Router from '@koa/router';
import type { Context, Middleware } from 'koa';
import type { Apis, Clients } from '../clients/index.ts';
import type { Clock, Config } from '../config/index.ts';
import { type Csrf, type Pages, readForm, routesOf } from '../http/index.ts';
import { callEndpoint } from './call-endpoint.ts';
import { finishCodeFlow, signOut, startCodeFlow } from './code-flow.ts';
import { getClientCredentials } from './get-client-credentials.ts';
import { initiateLogin } from './initiate-login.ts';
import { createPlaygroundClient } from './playground-client.ts';
import type { PlaygroundParts } from './playground-parts.ts';
import {
  AUTHORIZE_PATH,
  CALLBACK_PATH,
  INITIATE_LOGIN_PATH,
  RUN_PATHS,
  SIGN_OUT_PATH,
  SIGNED_OUT_PATH,
} from './playground-paths.ts';
import { createPlaygroundSessions } from './playground-sessions.ts';
import { showHome } from './show-home.ts';
import { showRun } from './show-run.ts';

/** The first page in development, and the flows that start on it. */
export function playgroundRoutes(dependencies: {
  config: Pick<Config, 'issuer' | 'isSecure'>;
  apis: Pick<Apis, 'all'>;
  clients: Pick<Clients, 'find'>;
  csrf: Csrf;
  pages: Pages;
  clock: Clock;
}): Middleware {
  const { clock } = dependencies;
  const { issuer, isSecure } = dependencies.config;
  const parts: PlaygroundParts = {
    ...dependencies,
    issuer,
    sessions: createPlaygroundSessions({ clock, isSecure }),
    client: createPlaygroundClient({ issuer, clock }),
  };
  const router = new Router();
  const get = (path: string, answer: (context: Context, parts: PlaygroundParts) => unknown) =>
    router.get(path, (context) => answer(context, parts));
  const post = (path: string, answer: (context: Context, parts: PlaygroundParts) => unknown) =>
    router.post(path, readForm(), (context) => answer(context, parts));

  get('/', (context) => showHome(context, parts));
  get('/playground', (context) => context.redirect('/'));
  post(AUTHORIZE_PATH, startCodeFlow);
  get(INITIATE_LOGIN_PATH, initiateLogin);
  post(INITIATE_LOGIN_PATH, initiateLogin);
  get(CALLBACK_PATH, finishCodeFlow);
  get(RUN_PATHS.code, (context) => showRun('code', context, parts));
  for (const name of ['userinfo', 'introspect', 'refresh', 'revoke'] as const) {
    post(`${RUN_PATHS.code}/${name}`, (context) => callEndpoint('code', name, context, parts));
  }
  post(SIGN_OUT_PATH, signOut);
  get(SIGNED_OUT_PATH, (context) => showHome(context, parts, signedOut));
  get(RUN_PATHS['client-credentials'], (context) => showRun('client-credentials', context, parts));
  post(RUN_PATHS['client-credentials'], getClientCredentials);
  for (const name of ['introspect', 'revoke'] as const) {
    post(`${RUN_PATHS['client-credentials']}/${name}`, (context) =>
      callEndpoint('client-credentials', name, context, parts),
    );
  }
  return routesOf(router);
}

const signedOut = {
  kind: 'success',
  title: 'You are signed out',
  text: 'The server has ended its session, and the playground has forgotten its tokens.',
} as const;
