import type { Command } from 'commander';
import type { Clients, NewClient, RegisteredClient } from '../clients/index.ts';
import { type Answer, printAnswer, toLines, toTable } from './answer.ts';
import { addClientBlockCommands } from './client-blocks.ts';
import { type ClientFlags, givenApis, givenMetadata } from './client-metadata-flags.ts';
import { addCommandGroup } from './command-group.ts';
import { withDomains, withKeys } from './open-domains.ts';
import { repeatable, standardInput, wholeNumber } from './option-values.ts';
import { refused } from './refused.ts';
import { addRegistrationTokenCommands } from './registration-tokens.ts';
import { readSecret } from './standard-input.ts';

const COLUMNS = ['client_id', 'client_name', 'token_endpoint_auth_method', 'grant_types', 'scope'];

export function addClientCommands(program: Command): void {
  const client = addCommandGroup(program, 'client', 'the clients that may ask for tokens');
  addClientBlockCommands(client);
  addRegistrationTokenCommands(client);

  withClientFlags(client.command('create').requiredOption('--id <id>', 'its client_id (required)'))
    .description('register a client; a secret that is made for it is shown this once')
    .option('--secret <->', 'take its secret from standard input instead of making one', standardInput)
    .action(async (flags: ClientFlags & { id: string; secret?: '-' }, command: Command) => {
      if (flags.secret !== undefined && flags.metadata === '-') {
        command.error('error: --secret and --metadata can not both read standard input');
      }
      const secret = flags.secret === undefined ? undefined : await readSecret('--secret');
      const metadata = { ...(await givenMetadata(flags)), client_id: flags.id } as NewClient['metadata'];
      printAnswer(
        command,
        await withKeys(async ({ clients }) => {
          const created = await clients.create({
            metadata,
            secret,
            ...givenApis(flags),
            roles: listOf(flags.role),
            allowedOrigins: listOf(flags.origin),
            mayIntrospectAny: flags.introspectAny,
          });
          return toAnswer(created.ok ? created : refused(created));
        }),
      );
    });

  client
    .command('list')
    .description('list the clients, in the order of their ids')
    .option('--limit <number>', 'at most so many', wholeNumber)
    .option('--after <id>', 'those behind this id')
    .action(async (page: { limit?: number; after?: string }, command: Command) => {
      const listed = await withDomains(({ clients }) => clients.list(page));
      const json = listed.map((it) => toRegistration(it));
      printAnswer(command, { json, text: toTable(COLUMNS, json) });
    });

  client
    .command('show <id>')
    .description('show a client as registered')
    .action(async (id: string, _: object, command: Command) => {
      printAnswer(command, toAnswer({ client: await withDomains(({ clients }) => find(clients, id)) }));
    });

  withClientFlags(client.command('update <id>'))
    .description('change a client: what is not named stays, a list that is named replaces the one before')
    .option('--no-api', 'let it call any API, within its scopes')
    .option('--no-introspect-any', 'no longer let it introspect every token')
    .option('--no-origin', 'take away every origin')
    .option('--no-role', 'take away every role')
    .option('--no-access-token-ttl', 'let its access tokens live as long as their API says')
    .action(async (id: string, flags: ClientFlags, command: Command) => {
      if (Object.keys(flags).length === 0) command.error('error: name what to change, such as --name');
      const metadata = await givenMetadata(flags);
      printAnswer(
        command,
        await withKeys(async ({ clients }) => {
          const updated = await clients.update(id, {
            metadata: metadata as NewClient['metadata'],
            ...givenApis(flags),
            roles: listOf(flags.role),
            allowedOrigins: listOf(flags.origin),
            mayIntrospectAny: flags.introspectAny,
          });
          return toAnswer(updated.ok ? updated : refused(updated));
        }),
      );
    });

  client
    .command('rotate-secret <id>')
    .description('make a new secret, shown this once; the one before it stays valid until the next time')
    .action(async (id: string, _: object, command: Command) => {
      printAnswer(
        command,
        await withDomains(async ({ clients }) => {
          const rotated = await clients.rotateSecret(id);
          if (!rotated.ok) return refused(rotated);
          return toAnswer({ client: await find(clients, id), secret: rotated.secret });
        }),
      );
    });

  client
    .command('delete <id>')
    .description('delete a client and end its grants and tokens; they stay dead where its id is given again')
    .action(async (id: string, _: object, command: Command) => {
      const { revoked, formerIntrospectionApis } = await withDomains(async (domains) => {
        const deleted = await domains.deleteClient(id);
        return deleted.ok ? deleted : refused(deleted);
      });
      printAnswer(command, {
        json: { client_id: id, deleted: true, revoked, former_introspection_apis: formerIntrospectionApis },
        text: `deleted ${id} and ${revoked} of its grants and tokens`,
      });
    });
}

function withClientFlags(command: Command): Command {
  return command
    .option('--name <name>', 'what people are shown')
    .option('--redirect-uri <uri>', 'where codes are sent (repeatable)', repeatable)
    .option('--post-logout-redirect-uri <uri>', 'where people go after a sign-out (repeatable)', repeatable)
    .option(
      '--grant <grant>',
      'authorization_code (what a new client has unless told), refresh_token, client_credentials or a URN (repeatable)',
      repeatable,
    )
    .option('--scope <scopes>', 'what it may ask for, in one argument: "openid orders:read"')
    .option(
      '--auth-method <method>',
      'client_secret_basic, client_secret_post, private_key_jwt, tls_client_auth, self_signed_tls_client_auth or none',
    )
    .option(
      '--api <urn>',
      'an API that it may call; none named: any, within its scopes; "URN SCOPE…": those alone there (repeatable)',
      repeatable,
    )
    .option('--role <role>', 'what APIs are told that it is, in its tokens (repeatable)', repeatable)
    .option('--access-token-ttl <seconds>', 'the longest that its access tokens may live, 30 to 86400', wholeNumber)
    .option('--introspect-any', 'let it introspect every token')
    .option('--origin <origin>', 'an origin whose pages may call for it (CORS; repeatable)', repeatable)
    .option('--metadata <file>', 'further members of RFC 7591 as JSON, - for standard input; options win');
}

async function find(clients: Clients, id: string): Promise<RegisteredClient> {
  return (await clients.find(id)) ?? refused({ code: 'not_found', reason: `no client ${id} is registered` });
}

function toAnswer(changed: { client: RegisteredClient; secret?: string | undefined }): Answer {
  const registration = toRegistration(changed.client, changed.secret);
  const note = changed.secret === undefined ? '' : '\n\nKeep the client_secret now: it is not shown again.';
  return { json: registration, text: `${toLines(registration)}${note}` };
}

/** The client information response of RFC 7591, section 3.2.1, with our own members behind it. */
function toRegistration(client: RegisteredClient, secret?: string): Record<string, unknown> {
  const { client_id, ...metadata } = client.metadata;
  return {
    client_id,
    ...(secret === undefined ? {} : { client_secret: secret, client_secret_expires_at: 0 }),
    ...metadata,
    apis: client.apis,
    ...(Object.keys(client.apiScopes).length === 0 ? {} : { api_scopes: client.apiScopes }),
    roles: client.roles,
    introspect_any: client.mayIntrospectAny,
    allowed_origins: client.allowedOrigins,
    ...(client.registration && { registered_itself: true, registration_policies: client.registration.policies }),
    created_at: client.createdAt,
    updated_at: client.updatedAt,
  };
}

/** `false` stands for `--no-…`: an empty list. */
function listOf(given: string[] | false | undefined): string[] | undefined {
  return given === false ? [] : given;
}
