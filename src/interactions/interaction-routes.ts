import Router from '@koa/router';
import type { Context, Middleware } from 'koa';
import { AppError } from '../errors.ts';
import { readForm, routesOf, showError } from '../http/index.ts';
import { outcomeOf } from '../telemetry/index.ts';
import { type ConsentDependencies, showConsent, submitConsent, switchAccount } from './consent.ts';
import { recallClient, rememberClient } from './last-client.ts';
import { type SignInDependencies, showSignIn, submitSignIn } from './sign-in.ts';

export type InteractionDependencies = SignInDependencies & ConsentDependencies;

/** The pages below `/interaction/:uid`. The provider leads here, and every step ends by returning to it. */
export function interactionRoutes(dependencies: InteractionDependencies): Middleware {
  const { steps } = dependencies;
  const router = new Router({ prefix: '/interaction/:uid' });
  router.use(async (context, next) => {
    try {
      await next();
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'interaction_expired') throw error;
      await showExpired(context, error, dependencies);
    }
  });
  router.get('/', async (context) => {
    const step = await steps.find(context, uidOf(context));
    rememberClient(context, step.clientId);
    return step.prompt === 'login' ? showSignIn(context, step, dependencies) : showConsent(context, step, dependencies);
  });
  router.post('/sign-in', readForm(), (context) => submitSignIn(context, uidOf(context), dependencies));
  router.post('/consent', readForm(), (context) => submitConsent(context, uidOf(context), dependencies));
  router.post('/switch-account', readForm(), (context) => switchAccount(context, uidOf(context), dependencies));
  router.get('/cancel', (context) => steps.deny(context, uidOf(context)));
  // A page that was reloaded after its form had been answered.
  router.get(['/sign-in', '/consent', '/switch-account'], (context) =>
    context.redirect(`/interaction/${uidOf(context)}`),
  );
  return routesOf(router);
}

/** A sign-in that is over, and the way back to where it began. */
async function showExpired(context: Context, error: AppError, dependencies: InteractionDependencies): Promise<void> {
  const { code, status, message } = error;
  outcomeOf(context.req).error = code;
  const client = await recallClient(context, dependencies.clients);
  showError(context, dependencies.pages, { code, oauthCode: 'invalid_request', status, description: message, client });
}

function uidOf(context: { params: Record<string, string | undefined> }): string {
  return context.params.uid ?? '';
}
