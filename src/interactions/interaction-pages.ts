import type { DescribedDetail } from '../clients/index.ts';
import { type ClientView, definePage } from '../http/index.ts';

/** OpenID scopes are described by our messages; `description` serves the scopes of APIs. */
export interface ScopeView {
  scope: string;
  description: string;
}

export interface SignInPage {
  /** Where the form is POSTed: `login`, `password`, `_csrf`. */
  action: string;
  csrfToken: string;
  /** What was typed before, or the `login_hint`; may be empty. */
  login: string;
  client: ClientView;
  error?: 'invalid_credentials' | 'too_many_attempts' | 'missing' | undefined;
  retryAfterSeconds?: number | undefined;
  /** A link (GET) that ends the interaction with `access_denied`. */
  cancelAction: string;
}

export interface ConsentPage {
  /** Where the form is POSTed: `decision` (`allow` or `deny`), `_csrf`. */
  action: string;
  csrfToken: string;
  client: ClientView;
  accountLabel: string;
  /** Where the answer goes; undefined where a device waits for it. */
  redirectHost?: string | undefined;
  /** Whether that is an app on the person's own computer (RFC 8252, section 7), which no host can tell. */
  isRedirectOnDevice: boolean;
  /** Of the document that alone speaks for a client which is not registered here; undefined where it is registered. */
  documentHost?: string | undefined;
  /** Nobody here vouches for what it says of itself. */
  isSelfRegistered?: boolean | undefined;
  newScopes: ScopeView[];
  grantedScopes: ScopeView[];
  resources: ResourceView[];
  /** Authorization details (RFC 9396), in the order in which they were asked for. */
  details: DetailView[];
  newClaims: string[];
  offlineAccess: boolean;
  /** Where "Use another account" POSTs the same form, without a `decision`. */
  switchAccountAction?: string | undefined;
}

/** `resource` is the name of the API. */
type DetailView = DescribedDetail & { resource: string };

interface ResourceView {
  name: string;
  identifier: string;
  newScopes: ScopeView[];
  grantedScopes: ScopeView[];
}

export interface SignOutPage {
  /** The provider's own form (id `op.logoutForm`), trusted HTML. */
  formHtml: string;
  client?: ClientView | undefined;
  accountLabel?: string | undefined;
}

export interface SignedOutPage {
  client?: ClientView | undefined;
}

export const signInPage = definePage<SignInPage>('sign-in');
export const consentPage = definePage<ConsentPage>('consent');
export const signOutPage = definePage<SignOutPage>('sign-out');
export const signedOutPage = definePage<SignedOutPage>('signed-out');
