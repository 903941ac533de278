import type { RunKind } from './playground-sessions.ts';

/** Where the playground's own client is sent back to, registered as its redirect URIs. */
export const CALLBACK_PATH = '/playground/callback';
export const SIGNED_OUT_PATH = '/playground/signed-out';

/** What became of the last flow; what can be done with its tokens stands below. */
export const RUN_PATHS = {
  code: '/playground/result',
  'client-credentials': '/playground/client-credentials',
} as const satisfies Record<RunKind, string>;

/** Where others may ask its client to start a sign-in (OpenID Connect Core 1.0, section 4). */
export const INITIATE_LOGIN_PATH = '/playground/login';

/** The forms of the first page and of a result. */
export const AUTHORIZE_PATH = '/playground/authorize';
export const SIGN_OUT_PATH = '/playground/sign-out';
