import type { Context } from 'koa';
import { OPENID_SCOPES } from '../clients/index.ts';
import { curlCommand } from './curl.ts';
import { demoApis, demoClients, demoSignIn } from './demo-data.ts';
import { explainFailure } from './explain-failure.ts';
import { type PlaygroundPage, playgroundPage } from './playground-pages.ts';
import type { PlaygroundParts } from './playground-parts.ts';
import { presentClient, presentEndpoints } from './present-home.ts';

const languageNames = new Intl.DisplayNames('en', { type: 'language' });
const CHECKED_AT_FIRST: readonly string[] = ['openid', 'profile', 'email'];

/** The first page: what there is to see, and the forms that start it. */
export async function showHome(
  context: Context,
  { issuer, apis, clients, client, csrf, pages }: PlaygroundParts,
  notice?: PlaygroundPage['notice'],
): Promise<void> {
  const [metadata, ...found] = await Promise.all([
    client.metadata(),
    ...Object.values(demoClients).map(({ id }) => clients.find(id)),
  ]);
  const registered = found.filter((one) => one !== undefined);
  const isDemoMissing = registered.length < found.length;
  const model: PlaygroundPage = {
    csrfToken: csrf.token(context),
    issuer,
    signIn: { ...demoSignIn },
    endpoints: metadata.ok ? presentEndpoints(issuer, metadata.value) : [],
    discoveryCommand: curlCommand({ url: `${issuer}/.well-known/openid-configuration` }),
    clients: registered.map(presentClient),
    openidScopes: OPENID_SCOPES.map((scope) => ({ scope, isChecked: CHECKED_AT_FIRST.includes(scope) })),
    apis: demoApis.flatMap(({ identifier }) => apis.all().find((api) => api.identifier === identifier) ?? []),
    languages: pages.locales.map((tag) => ({ tag, name: languageNames.of(tag) ?? tag })),
    notice: notice ?? (isDemoMissing ? demoIsMissing : metadata.ok ? undefined : unreachable(metadata.failure)),
  };
  pages.show(context, playgroundPage(model), 'en');
}

const demoIsMissing: PlaygroundPage['notice'] = {
  kind: 'warning',
  title: 'Demo clients are missing',
  text: 'They may have been deleted. Restart the server in development: it makes them anew.',
};

function unreachable(failure: { code: string }): PlaygroundPage['notice'] {
  const { title, meaning, advice } = explainFailure(failure);
  return { kind: 'danger', title, text: `${meaning} ${advice}` };
}
