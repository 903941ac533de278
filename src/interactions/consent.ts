import type { Context } from 'koa';
import type { Accounts } from '../accounts/index.ts';
import { type Audit, auditContextOf } from '../audit/index.ts';
import { type Apis, type Clients, describeDetail, detailsTypeOf, isOnDevice, OPENID_SCOPES } from '../clients/index.ts';
import { AppError } from '../errors.ts';
import { type Csrf, formOf, type Pages, toClientView } from '../http/index.ts';
import { type InteractionStep, type InteractionSteps, noLongerOpen } from '../oidc/index.ts';
import { type ConsentPage, consentPage, type ScopeView } from './interaction-pages.ts';
import { clientOf } from './step-client.ts';

export type ConsentDependencies = {
  steps: InteractionSteps;
  accounts: Accounts;
  apis: Apis;
  clients: Clients;
  audit: Audit;
  csrf: Csrf;
  pages: Pages;
};

/** Asks whether the client may have what it wants. */
export async function showConsent(
  context: Context,
  step: InteractionStep,
  dependencies: ConsentDependencies,
): Promise<void> {
  const { accounts, apis, clients, csrf, pages } = dependencies;
  const [client, account] = await Promise.all([
    clientOf(step, clients),
    step.accountId === undefined ? undefined : accounts.find(step.accountId),
  ]);
  if (account === undefined || account.isDisabled) throw noLongerOpen();
  const model: ConsentPage = {
    action: `/interaction/${step.uid}/consent`,
    switchAccountAction: step.canSwitchAccount ? `/interaction/${step.uid}/switch-account` : undefined,
    csrfToken: csrf.token(context),
    client: toClientView(client),
    accountLabel: account.email,
    redirectHost: step.redirectUri === undefined ? undefined : redirectHost(step.redirectUri),
    isRedirectOnDevice: step.redirectUri !== undefined && isOnDevice(step.redirectUri),
    documentHost: client.origin === 'document' ? new URL(client.id).host : undefined,
    isSelfRegistered: client.origin === 'dynamic',
    newScopes: inOrderOf(OPENID_SCOPES, step.missing.scopes).map(plainScope),
    grantedScopes: inOrderOf(OPENID_SCOPES, step.granted.scopes).map(plainScope),
    resources: resourceViews(step, apis),
    details: detailViews(step, apis),
    newClaims: step.missing.claims,
    offlineAccess: [...step.missing.scopes, ...step.granted.scopes].includes('offline_access'),
  };
  pages.show(context, consentPage(model), step.uiLocales);
}

/** Takes the decision, and returns to the provider either way. */
export async function submitConsent(context: Context, uid: string, dependencies: ConsentDependencies): Promise<void> {
  const { steps, audit, csrf } = dependencies;
  const form = formOf(context);
  csrf.verify(context, form);
  const step = await steps.find(context, uid);
  const { accountId, clientId } = step;
  if (step.prompt !== 'consent' || accountId === undefined) throw noLongerOpen();
  const auditContext = auditContextOf(context);
  switch (form.decision) {
    case 'allow':
      return steps.finishConsent(context, step.uid, (given) =>
        audit.record({ type: 'consent.granted', ...given }, auditContext),
      );
    case 'deny':
      await audit.record({ type: 'consent.denied', accountId, clientId }, auditContext);
      return steps.deny(context, step.uid);
    default:
      throw new AppError({ code: 'invalid_request', message: 'Choose to allow or to deny access.' });
  }
}

/** Asks for another account to sign in with, and for its consent then. */
export async function switchAccount(context: Context, uid: string, dependencies: ConsentDependencies): Promise<void> {
  dependencies.csrf.verify(context, formOf(context));
  await dependencies.steps.switchAccount(context, uid);
}

/** OpenID scopes are put into words by the page, in its language. */
function plainScope(scope: string): ScopeView {
  return { scope, description: '' };
}

function resourceViews(step: InteractionStep, apis: Apis): ConsentPage['resources'] {
  const missing = step.missing.resourceScopes;
  const granted = step.granted.resourceScopes;
  const identifiers = [...new Set([...Object.keys(missing), ...Object.keys(granted)])];
  return identifiers.sort().map((identifier) => {
    const api = apis.all().find((candidate) => candidate.identifier === identifier);
    const owned = api?.scopes ?? [];
    const describe = (scope: string): ScopeView => ({
      scope,
      description: owned.find((known) => known.scope === scope)?.description ?? scope,
    });
    const describeAll = (scopes: readonly string[] = []) =>
      inOrderOf(
        owned.map(({ scope }) => scope),
        scopes,
      ).map(describe);
    return {
      identifier,
      name: api?.name ?? identifier,
      newScopes: describeAll(missing[identifier]),
      grantedScopes: describeAll(granted[identifier]),
    };
  });
}

/** What can't be put into words is not asked for. @throws {AppError} where a type went away since the request began */
function detailViews({ details }: InteractionStep, apis: Apis): ConsentPage['details'] {
  return details.map((detail) => {
    for (const api of apis.all()) {
      const type = detailsTypeOf(api, detail.type);
      if (type !== undefined) return { ...describeDetail(type, detail), resource: api.name };
    }
    throw noLongerOpen();
  });
}

/** What is remembered comes in any order; what a person compares with the last time has to stand in the same one. */
function inOrderOf(known: readonly string[], scopes: readonly string[]): string[] {
  const rank = (scope: string) => (known.includes(scope) ? known.indexOf(scope) : known.length);
  return scopes.toSorted().sort((one, other) => rank(one) - rank(other));
}

/** Where the answer goes, as a person can judge it; an app on the device has a scheme of its own and no host. */
function redirectHost(redirectUri: string): string {
  const url = URL.parse(redirectUri);
  return url === null ? redirectUri : url.host || url.protocol.replace(/:$/, '');
}
