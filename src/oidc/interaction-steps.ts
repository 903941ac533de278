import type { Context } from 'koa';
import { errors, type Provider } from 'oidc-provider';
import type { AuthorizationDetail, Clients } from '../clients/index.ts';
import { AppError } from '../errors.ts';
import { ACR_PASSWORD } from './claims.ts';
import type { Consent, ConsentsStore } from './consents-store.ts';
import { failClosed } from './faults.ts';
import { addConsent, toConsent } from './grants.ts';
import { addDetails } from './rich-authorization.ts';

/** What the provider waits for a person to do, and all that a page needs to ask for it. */
export type InteractionStep = {
  uid: string;
  prompt: 'login' | 'consent';
  clientId: string;
  /** Where the answer goes; undefined where it waits for a device to ask (RFC 8628). */
  redirectUri: string | undefined;
  uiLocales: string | undefined;
  loginHint: string | undefined;
  /** Who is signed in; there at the consent step. */
  accountId: string | undefined;
  /** Whether another account may do: not where the request itself says whose it wants. */
  canSwitchAccount: boolean;
  /** What is asked for and has not been allowed before. */
  missing: Consent;
  /** Of what is asked for, what has been allowed before. */
  granted: Consent;
  /** Authorization details (RFC 9396): allowed each time anew, whatever was allowed before. */
  details: readonly AuthorizationDetail[];
};

/** A consent as the audit trail wants it; the scopes are those of userinfo and of every API together. */
type GivenConsent = {
  grantId: string;
  accountId: string;
  clientId: string;
  scopes: string[];
  resources: string[];
  /** Absent where none were asked for. What they say is the person's own business. */
  detailsTypes?: string[];
};

/** The way from our pages back into the protocol. Every step ends by returning to the provider, which decides what is next. */
export type InteractionSteps = Readonly<{
  /** @throws {AppError} `interaction_expired` where there is none for this browser and `uid` */
  find(context: Context, uid: string): Promise<InteractionStep>;
  /** All answer with the redirect back to the provider. @throws {AppError} `interaction_expired` as `find` does */
  finishSignIn(context: Context, uid: string, accountId: string): Promise<void>;
  finishConsent(
    context: Context,
    uid: string,
    /** Records the consent before it takes effect: what can't be recorded is not given. */
    record: (given: GivenConsent) => Promise<void>,
  ): Promise<void>;
  deny(context: Context, uid: string): Promise<void>;
  /** Asks for another sign-in first: the same authorization request begins anew, a device waits meanwhile. */
  switchAccount(context: Context, uid: string): Promise<void>;
}>;

type Details = Awaited<ReturnType<Provider['interactionDetails']>>;

export function createInteractionSteps(dependencies: {
  provider(): Provider;
  consents: ConsentsStore;
  clients: Pick<Clients, 'find'>;
}): InteractionSteps {
  const { provider, consents, clients } = dependencies;

  async function details(context: Context, uid: string): Promise<Details> {
    try {
      const found = await provider().interactionDetails(context.req, context.res);
      if (found.uid === uid) return found;
    } catch (error) {
      if (!(error instanceof errors.SessionNotFound)) throw error;
    }
    throw noLongerOpen();
  }

  async function grantOf(found: Details) {
    const existing = found.grantId === undefined ? undefined : await provider().Grant.find(found.grantId);
    if (existing !== undefined && existing.accountId === found.session?.accountId) return existing;
    return undefined;
  }

  async function finish(context: Context, result: Parameters<Provider['interactionResult']>[2]): Promise<void> {
    const isError = 'error' in result;
    const returnTo = await failClosed(() =>
      provider().interactionResult(context.req, context.res, result, { mergeWithLastSubmission: !isError }),
    );
    context.status = 303;
    context.redirect(returnTo);
  }

  return {
    async find(context, uid) {
      const found = await failClosed(() => details(context, uid));
      const { params, prompt } = found;
      const grant = prompt.name === 'consent' ? await failClosed(() => grantOf(found)) : undefined;
      return {
        uid: found.uid,
        prompt: prompt.name === 'consent' ? 'consent' : 'login',
        clientId: String(params.client_id),
        redirectUri: found.deviceCode === undefined ? String(params.redirect_uri) : undefined,
        uiLocales: optionalText(params.ui_locales),
        loginHint: optionalText(params.login_hint),
        accountId: found.session?.accountId,
        canSwitchAccount: !namesAccount(params),
        missing: missingConsent(prompt.details),
        granted: grant === undefined ? nothing : restrictTo(toConsent(grant), optionalText(params.scope) ?? ''),
        details: askedDetails(prompt.details),
      };
    },

    async finishSignIn(context, uid, accountId) {
      const { prompt } = await failClosed(() => details(context, uid));
      if (prompt.name !== 'login') throw outOfOrder();
      await finish(context, { login: { accountId, acr: ACR_PASSWORD, amr: ['pwd'], remember: true } });
    },

    async finishConsent(context, uid, record) {
      const found = await failClosed(() => details(context, uid));
      const accountId = found.session?.accountId;
      if (found.prompt.name !== 'consent' || accountId === undefined) throw outOfOrder();
      const clientId = String(found.params.client_id);
      const grantId = await failClosed(async () => {
        const { Grant } = provider();
        const grant = (await grantOf(found)) ?? new Grant({ accountId, clientId });
        addConsent(grant, missingConsent(found.prompt.details));
        const details = askedDetails(found.prompt.details);
        addDetails(grant, details);
        const detailsTypes = [...new Set(details.map(({ type }) => type))];
        const allowed = toConsent(grant);
        const resources = Object.keys(allowed.resourceScopes);
        const scopes = [...allowed.scopes, ...Object.values(allowed.resourceScopes).flat()];
        const id = await grant.save();
        await record({
          ...{ grantId: id, accountId, clientId, scopes, resources },
          ...(detailsTypes.length > 0 && { detailsTypes }),
        });
        // Whoever comes to own the URL is this client: what it may do is asked again in every session.
        if ((await clients.find(clientId))?.origin === 'document') return id;
        // Nothing to hang on where the account or the client was deleted since the page was shown.
        return (await consents.add(accountId, clientId, allowed)) ? id : undefined;
      });
      if (grantId === undefined) throw noLongerOpen();
      await finish(context, { consent: { grantId } });
    },

    async deny(context, uid) {
      await failClosed(() => details(context, uid));
      await finish(context, { error: 'access_denied', error_description: 'End-User denied the request' });
    },

    async switchAccount(context, uid) {
      const found = await failClosed(() => details(context, uid));
      const { params, prompt } = found;
      if (prompt.name !== 'consent' || namesAccount(params)) throw outOfOrder();
      context.status = 303;
      if (found.deviceCode === undefined) {
        context.redirect(`${provider().urlFor('authorization')}?${withSignIn(params)}`);
      } else {
        // There is no request to begin anew: the code was typed in, and is taken once.
        Object.assign(found, { prompt: { name: 'login', reasons: ['login_prompt'], details: {} } });
        await failClosed(() => found.persist());
        context.redirect(`/interaction/${uid}`);
      }
    },
  };
}

/** Another account than one that the request names would be asked to sign in for ever. */
function namesAccount(params: Details['params']): boolean {
  return params.id_token_hint !== undefined || params.claims !== undefined;
}

/** The parameters of a request with `prompt=login`; the name that it suggests is not the one that is wanted now. */
function withSignIn(params: Details['params']): URLSearchParams {
  const { prompt, login_hint: _loginHint, ...others } = params;
  const request = new URLSearchParams({ prompt: String(prompt ?? '').includes('consent') ? 'login consent' : 'login' });
  for (const [name, value] of Object.entries(others)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined) request.append(name, String(one));
  }
  return request;
}

const nothing: Consent = { scopes: [], claims: [], resourceScopes: {} };

/** What is answered where a step isn't there for this browser, or has lost what it needs. */
export function noLongerOpen(): AppError {
  return new AppError({ code: 'interaction_expired', message: 'This sign-in is no longer open.' });
}

function outOfOrder(): AppError {
  return new AppError({ code: 'interaction_expired', message: 'This step has been answered already.' });
}

function missingConsent(details: Record<string, unknown>): Consent {
  return {
    scopes: (details.missingOIDCScope as string[] | undefined) ?? [],
    claims: (details.missingOIDCClaims as string[] | undefined) ?? [],
    resourceScopes: (details.missingResourceScopes as Record<string, string[]> | undefined) ?? {},
  };
}

function askedDetails({ rar }: Record<string, unknown>): AuthorizationDetail[] {
  return (rar as AuthorizationDetail[] | undefined) ?? [];
}

function restrictTo(consent: Consent, scope: string): Consent {
  const asked = new Set(scope.split(' '));
  const isAsked = (name: string) => asked.has(name);
  return {
    scopes: consent.scopes.filter(isAsked),
    claims: consent.claims,
    resourceScopes: Object.fromEntries(
      Object.entries(consent.resourceScopes)
        .map(([resource, scopes]) => [resource, scopes.filter(isAsked)] as const)
        .filter(([, scopes]) => scopes.length > 0),
    ),
  };
}

function optionalText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
