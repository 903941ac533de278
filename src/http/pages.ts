import type { Context } from 'koa';
import type { RegisteredClient } from '../clients/index.ts';
import { chooseLocale, type Locale, locales } from './messages.ts';
import type { Page, Views } from './views.ts';

/** Shows pages in the language of the person in front of them. */
export type Pages = Readonly<{
  locales: readonly Locale[];
  /** @param uiLocales the `ui_locales` of the authorization request, which goes before the browser's own wish */
  show(
    context: Pick<Context, 'type' | 'body' | 'acceptsLanguages' | 'response' | 'set'>,
    page: Page,
    uiLocales?: string,
  ): void;
}>;

export function createPages({ views }: { views: Views }): Pages {
  return {
    locales,
    show(context, page, uiLocales) {
      const html = views.render(page, chooseLocale(uiLocales, context.acceptsLanguages()));
      letLogoIn(context, page);
      context.type = 'html';
      context.body = html;
    },
  };
}

export interface ClientView {
  clientId: string;
  name: string;
  logoUri?: string | undefined;
  clientUri?: string | undefined;
  policyUri?: string | undefined;
  tosUri?: string | undefined;
}

const CONTENT_POLICY = 'Content-Security-Policy';

/** Lets a page load its client's logo from where that is, and no other page anything from anywhere else. */
function letLogoIn(context: Pick<Context, 'response' | 'set'>, { model }: Page): void {
  const { client } = model as { client?: ClientView | undefined };
  const url = URL.parse(client?.logoUri ?? '');
  if (url?.protocol !== 'https:') return;
  const policy = context.response.get(CONTENT_POLICY);
  context.set(CONTENT_POLICY, policy.replace(/(?<=\bimg-src )/, `${url.origin} `));
}

/** What a page says of a client. */
export function toClientView({ id, metadata }: Pick<RegisteredClient, 'id' | 'metadata'>): ClientView {
  return {
    clientId: id,
    name: metadata.client_name ?? id,
    logoUri: metadata.logo_uri,
    clientUri: metadata.client_uri,
    policyUri: metadata.policy_uri,
    tosUri: metadata.tos_uri,
  };
}
