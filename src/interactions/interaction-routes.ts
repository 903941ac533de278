import Router from '@koa/router';
import type { Middleware } from 'koa';
import { readForm } from '../http/index.ts';
import { outcomeOf } from '../telemetry/index.ts';
import { type ConsentDependencies, showConsent, submitConsent } from './consent.ts';
import { type SignInDependencies, showSignIn, submitSignIn } from './sign-in.ts';
import type { StepContext } from './step-client.ts';

export type InteractionDependencies = SignInDependencies & ConsentDependencies;

/** The pages below `/interaction/:uid`. The provider leads here, and every step ends by returning to it. */
export function interactionRoutes(dependencies: InteractionDependencies): Middleware {
  const { steps } = dependencies;
  const router = new Router({ prefix: '/interaction/:uid' });
  router.use((context, next) => {
    outcomeOf(context.req).endpoint = 'interaction';
    return next();
  });
  router.get('/', async (context) => {
    const step = await steps.find(context, uidOf(context));
    return step.prompt === 'login' ? showSignIn(context, step, dependencies) : showConsent(context, step, dependencies);
  });
  router.post('/sign-in', readForm(), (context) => submitSignIn(context as unknown as StepContext, dependencies));
  router.post('/consent', readForm(), (context) => submitConsent(context as unknown as StepContext, dependencies));
  router.get('/cancel', (context) => steps.deny(context, uidOf(context)));
  // A page that was reloaded after its form had been answered.
  router.get(['/sign-in', '/consent'], (context) => context.redirect(`/interaction/${uidOf(context)}`));
  return router.routes() as unknown as Middleware;
}

function uidOf(context: { params: Record<string, string | undefined> }): string {
  return context.params.uid ?? '';
}
