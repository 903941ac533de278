import type { Context } from 'koa';
import type { Accounts } from '../accounts/index.ts';
import { type Audit, type AuditEvent, auditContextOf } from '../audit/index.ts';
import type { Clients } from '../clients/index.ts';
import { type Csrf, formOf, type Pages, toClientView } from '../http/index.ts';
import type { SignInLimits } from '../limits/index.ts';
import type { InteractionStep, InteractionSteps } from '../oidc/index.ts';
import { type SignInPage, signInPage } from './interaction-pages.ts';
import { clientOf } from './step-client.ts';

export type SignInDependencies = {
  steps: InteractionSteps;
  accounts: Accounts;
  clients: Clients;
  limits: SignInLimits;
  audit: Audit;
  csrf: Csrf;
  pages: Pages;
};

type Refusal = Pick<SignInPage, 'error' | 'retryAfterSeconds'> & { login?: string };

/** Asks who a person is. */
export async function showSignIn(
  context: Context,
  step: InteractionStep,
  dependencies: SignInDependencies,
  refusal: Refusal = {},
): Promise<void> {
  const { csrf, pages } = dependencies;
  const client = await clientOf(step, dependencies.clients);
  const model: SignInPage = {
    action: `/interaction/${step.uid}/sign-in`,
    cancelAction: `/interaction/${step.uid}/cancel`,
    csrfToken: csrf.token(context),
    client: toClientView(client),
    login: step.loginHint ?? '',
    ...refusal,
  };
  pages.show(context, signInPage(model), step.uiLocales);
}

/**
 * Checks who a person is: the same answer in the same time for an unknown account, a wrong password and a disabled
 * account; slowed down before the password is looked at, so that parallel guesses are counted too.
 */
export async function submitSignIn(context: Context, uid: string, dependencies: SignInDependencies): Promise<void> {
  const { steps, accounts, limits, csrf } = dependencies;
  const form = formOf(context);
  csrf.verify(context, form);
  const step = await steps.find(context, uid);
  const login = (form.login ?? '').trim();
  const password = form.password ?? '';
  if (login === '' || password === '') {
    context.status = 400;
    return showSignIn(context, step, dependencies, { error: 'missing', login });
  }
  const attempt = { login, address: context.ip };
  const limit = await limits.check(attempt);
  if (!limit.isAllowed) {
    // Once in a window: whoever is refused could else fill the trail as fast as they can ask.
    if (limit.isFirst) await record(context, step, dependencies, { type: 'sign_in.limited', reason: limit.reason });
    context.status = 429;
    context.set('Retry-After', String(limit.retryAfterSeconds));
    const { retryAfterSeconds } = limit;
    return showSignIn(context, step, dependencies, { error: 'too_many_attempts', retryAfterSeconds, login });
  }
  const signedIn = await accounts.authenticate(login, password).catch(async (error: unknown) => {
    await limits.undecided(attempt);
    throw error;
  });
  if (!signedIn.ok) {
    await limits.failed(attempt);
    const { reason, accountId } = signedIn;
    // An unknown account is never named: people type passwords there.
    await record(context, step, dependencies, { type: 'sign_in.failed', reason, accountId });
    context.status = 400;
    return showSignIn(context, step, dependencies, { error: 'invalid_credentials', login });
  }
  const accountId = signedIn.account.id;
  await limits.succeeded(attempt);
  await record(context, step, dependencies, { type: 'sign_in.succeeded', accountId });
  await steps.finishSignIn(context, step.uid, accountId);
}

async function record(
  context: Context,
  step: InteractionStep,
  { audit }: SignInDependencies,
  event: Extract<AuditEvent, { type: `sign_in.${string}` }>,
): Promise<void> {
  await audit.record({ ...event, clientId: step.clientId }, auditContextOf(context));
}
