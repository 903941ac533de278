import { definePage } from '../http/index.ts';

/** The models of the playground's pages, which are for developers, in development, and in English. */

/** A moment as people read it: relative on the page, exact on hover and in `<time>`. */
export interface TimeView {
  iso: string;
  exact: string;
  relative: string;
}

interface PlaygroundApi {
  identifier: string;
  name: string;
  tokenFormat: 'jwt' | 'opaque';
  scopes: readonly { scope: string; description: string }[];
}

interface PlaygroundClient {
  name: string;
  clientId: string;
  clientSecret?: string | undefined;
  purpose: string;
  grants: string;
  authentication: string;
  redirectUris: readonly string[];
}

export interface PlaygroundPage {
  csrfToken: string;
  issuer: string;
  signIn: { email: string; password: string };
  /** From the discovery document; empty where it can't be read. */
  endpoints: { name: string; url: string; purpose: string; isPage: boolean }[];
  discoveryCommand: string;
  clients: PlaygroundClient[];
  openidScopes: { scope: string; isChecked: boolean }[];
  apis: PlaygroundApi[];
  /** The languages of the server's pages. */
  languages: { tag: string; name: string }[];
  notice?: { kind: 'success' | 'warning' | 'danger'; title: string; text: string } | undefined;
}

/** What went wrong in a flow, in the protocol's code and in words. */
export interface PlaygroundFailure {
  code: string;
  title: string;
  meaning: string;
  advice: string;
  /** As the server put it. */
  description?: string | undefined;
}

export interface PlaygroundClaim {
  name: string;
  value: string;
  time?: TimeView | undefined;
  meaning: string;
}

export interface PlaygroundToken {
  /** Unique on the page. */
  id: string;
  title: string;
  text: string;
  value: string;
  /** Only of a JWT. */
  decoded?: { header: PlaygroundClaim[]; claims: PlaygroundClaim[] } | undefined;
}

export interface PlaygroundAnswer {
  label: string;
  status: string;
  isError: boolean;
  /** Pretty JSON; empty for an empty answer. */
  body: string;
  note: string;
  /** Where on the page more is to be seen of it. */
  link?: { href: string; label: string } | undefined;
  at: TimeView;
}

export interface PlaygroundCall {
  /** Unique on the page; the page scrolls to it after the call. */
  id: string;
  title: string;
  text: string;
  action: string;
  /** None where it is over. */
  buttons: { label: string; kind: 'primary' | 'secondary' | 'danger'; value?: string }[];
  /** Why there is nothing to do any more. */
  over?: string | undefined;
  commands: { label: string; code: string }[];
  /** Oldest first. */
  answers: PlaygroundAnswer[];
}

export interface PlaygroundRun {
  facts: { term: string; text: string; isCode?: boolean }[];
  receivedAt: TimeView;
  tokens: PlaygroundToken[];
  calls: PlaygroundCall[];
  /** What was sent to get the tokens. */
  requests: { label: string; code: string; note?: string | undefined }[];
  canSignOut: boolean;
}

export interface PlaygroundRunPage {
  kind: 'code' | 'client-credentials';
  csrfToken: string;
  /** Absent before the first one, and where it failed. */
  run?: PlaygroundRun | undefined;
  failure?: PlaygroundFailure | undefined;
}

export const playgroundPage = definePage<PlaygroundPage>('playground');
export const playgroundRunPage = definePage<PlaygroundRunPage>('playground-run');
