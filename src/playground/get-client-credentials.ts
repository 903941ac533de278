import type { Context } from 'koa';
import { clientCredentialsParameters, readPlaygroundForm } from './authorization-request.ts';
import { curlCommand } from './curl.ts';
import { demoClients } from './demo-data.ts';
import type { PlaygroundParts } from './playground-parts.ts';
import { RUN_PATHS } from './playground-paths.ts';
import { seeOther } from './see-other.ts';

/** Gets a token for the demo service itself (RFC 6749, section 4.4). */
export async function getClientCredentials(context: Context, parts: PlaygroundParts): Promise<void> {
  const form = readPlaygroundForm(context.request.body);
  parts.csrf.verify(context, { _csrf: form._csrf });
  const parameters = clientCredentialsParameters(form, parts.apis.all());
  const result = await parts.client.clientCredentials(demoClients.service, parameters);
  const command = curlCommand({
    url: `${parts.issuer}/token`,
    client: demoClients.service,
    form: { grant_type: 'client_credentials', ...parameters },
  });
  parts.sessions.open(context).runs.set(
    'client-credentials',
    result.ok
      ? {
          run: {
            tokens: result.value,
            resource: parameters.resource,
            receivedAt: parts.clock(),
            requests: [{ label: 'The same with curl', code: command, note: 'Gives another token each time.' }],
          },
        }
      : { failure: result.failure },
  );
  seeOther(context, RUN_PATHS['client-credentials']);
}
