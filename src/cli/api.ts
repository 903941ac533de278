import type { Command } from 'commander';
import type { Api, ApiPatch, ApiScope, Apis, DetailsType, NewApi } from '../clients/index.ts';
import { AppError } from '../errors.ts';
import { type Answer, isJsonWanted, printAnswer, toLines, toTable } from './answer.ts';
import { addCommandGroup } from './command-group.ts';
import { withDomains, withKeys } from './open-domains.ts';
import { repeatable, wholeNumber, words } from './option-values.ts';
import { refused } from './refused.ts';
import { readText } from './standard-input.ts';

type ApiFlags = {
  name?: string;
  scope?: string;
  describe?: string[];
  format?: NewApi['tokenFormat'];
  alg?: NewApi['signingAlgorithm'];
  ttl?: number;
  introspectionClient?: string[] | false;
  openToUnregistered?: boolean;
  authorizationDetails?: string;
};

type NewApiFlags = ApiFlags & { id: string; scope: string; format: NewApi['tokenFormat'] };

const SCOPES = '--scope <scopes>';
const SCOPES_MEAN = 'its scopes, in one argument: "orders:read orders:write"';
const FORMAT = '--format <format>';
const FORMAT_MEANS = 'of its access tokens: jwt or opaque';

/** RFC 9728, sections 1.2 and 3: clients find it by the identifier. */
const NOWHERE_TO_SERVE =
  'note: clients can find this only where the identifier of the API is an https URL: one with another identifier has no place to serve it at';

export function addApiCommands(program: Command): void {
  const api = addCommandGroup(program, 'api', 'the APIs (resource servers) that tokens are for');

  const create = api
    .command('create')
    .description('register an API')
    .requiredOption(
      '--id <urn>',
      'its identifier: the resource and the audience of its tokens, an absolute URI (required)',
    )
    .requiredOption(SCOPES, `${SCOPES_MEAN} (required)`)
    .requiredOption(FORMAT, `${FORMAT_MEANS} (required)`);
  withApiFlags(create).action(async (flags: NewApiFlags, command: Command) => {
    const scopes = described(words(flags.scope), flags.describe);
    const input = { ...(await changes(flags)), identifier: flags.id, scopes, tokenFormat: flags.format };
    printAnswer(
      command,
      await withKeys(async ({ apis }) => {
        const created = await apis.create(input);
        return toAnswer(created.ok ? created.api : refusedApi(created));
      }),
    );
  });

  api
    .command('list')
    .description('list the APIs, in the order of their identifiers')
    .action(async (_: object, command: Command) => {
      const listed = await withDomains(({ apis }) => apis.list());
      const rows = listed.map((it) => ({ ...present(it), scopes: it.scopes.map(({ scope }) => scope) }));
      const text = toTable(['identifier', 'name', 'token_format', 'ttl_seconds', 'scopes'], rows);
      printAnswer(command, { json: listed.map(present), text });
    });

  api
    .command('show <urn>')
    .description('show an API as registered')
    .action(async (identifier: string, _: object, command: Command) => {
      printAnswer(command, toAnswer(await withDomains(({ apis }) => find(apis, identifier))));
    });

  withApiFlags(api.command('update <urn>'))
    .description('change an API: what is not named stays, a list that is named replaces the one before')
    .option(SCOPES, SCOPES_MEAN)
    .option(FORMAT, FORMAT_MEANS)
    .option('--no-introspection-client', 'let no client introspect its tokens by being named here')
    .option('--no-open-to-unregistered', 'let registered clients alone ask for its tokens again')
    .action(async (identifier: string, flags: ApiFlags, command: Command) => {
      if (Object.keys(flags).length === 0) command.error('error: name what to change, such as --ttl');
      const patched = await changes(flags);
      printAnswer(
        command,
        await withKeys(async ({ apis }) => {
          const { scope, describe } = flags;
          const names = scope === undefined ? undefined : words(scope);
          const kept = names ?? (describe && (await find(apis, identifier)).scopes);
          const scopes = kept && described(kept, describe);
          const patch = {
            ...patched,
            ...(scopes && { scopes }),
            ...(flags.format && { tokenFormat: flags.format }),
          };
          const updated = await apis.update(identifier, patch);
          return toAnswer(updated.ok ? updated.api : refusedApi(updated));
        }),
      );
    });

  api
    .command('delete <urn>')
    .description('delete an API that no client is registered for and no API key is for')
    .action(async (identifier: string, _: object, command: Command) => {
      await withDomains(async ({ apis }) => {
        const deleted = await apis.delete(identifier);
        return deleted.ok ? deleted : refused(deleted);
      });
      printAnswer(command, { json: { identifier, deleted: true }, text: `deleted ${identifier}` });
    });

  api
    .command('metadata <urn>')
    .description('print what the API publishes about itself (RFC 9728), to be served by it as JSON')
    .action(async (identifier: string, _: object, command: Command) => {
      const json = await withDomains(async ({ apis }, config) => {
        return toResourceMetadata(await find(apis, identifier), config.issuer);
      });
      const isFound = URL.parse(identifier)?.protocol === 'https:';
      if (!isFound && !isJsonWanted(command)) process.stderr.write(`${NOWHERE_TO_SERVE}\n`);
      printAnswer(command, { json, text: JSON.stringify(json, null, 2) });
    });
}

function withApiFlags(command: Command): Command {
  return command
    .option('--name <name>', 'what people are shown')
    .option(
      '--describe <scope=words>',
      'what a scope allows, in plain words for the consent page (repeatable)',
      repeatable,
    )
    .option('--alg <alg>', 'that signs its JWTs: one of SIGNING_ALGORITHMS (RS256 unless told)')
    .option('--ttl <seconds>', 'lifetime of its access tokens (600 unless told)', wholeNumber)
    .option('--introspection-client <id>', 'a client that may introspect its tokens (repeatable)', repeatable)
    .option('--authorization-details <file>', 'types of details that may be asked for (RFC 9396), as a JSON list')
    .option('--open-to-unregistered', 'let clients that nobody registered ask for its tokens (docs/agents.md)');
}

async function find(apis: Apis, identifier: string): Promise<Api> {
  return (await apis.find(identifier)) ?? refused({ code: 'not_found', reason: `no API ${identifier} is registered` });
}

/** The member at fault has the name that it has in the answer. @throws {AppError} always */
function refusedApi({ code, field, reason }: Extract<Awaited<ReturnType<Apis['create']>>, { ok: false }>): never {
  const member = field?.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return refused({ code, reason: field === undefined ? reason : reason.replace(`${field}: `, `${member}: `) });
}

async function changes(flags: ApiFlags): Promise<ApiPatch> {
  const { name, alg, ttl, introspectionClient, openToUnregistered, authorizationDetails } = flags;
  return {
    ...(authorizationDetails !== undefined && { detailsTypes: await readDetailsTypes(authorizationDetails) }),
    ...(openToUnregistered !== undefined && { isOpenToUnregistered: openToUnregistered }),
    ...(name !== undefined && { name }),
    ...(alg !== undefined && { signingAlgorithm: alg }),
    ...(ttl !== undefined && { ttlSeconds: ttl }),
    ...(introspectionClient !== undefined && { introspectionClientIds: introspectionClient || [] }),
  };
}

/** The list that the registry checks. @throws {AppError} `invalid_request` where the file has no JSON list */
async function readDetailsTypes(path: string): Promise<DetailsType[]> {
  const text = await readText(path, 'the authorization details types');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (Array.isArray(value)) return value as DetailsType[];
  throw new AppError({ code: 'invalid_request', message: `${path} wants a JSON list of types of details` });
}

/** Gives scopes the words of `--describe scope=words`. A scope may have = in its own name. */
function described(scopes: readonly (string | ApiScope)[], given: readonly string[] = []): NewApi['scopes'] {
  const result = new Map<string, Exclude<NewApi['scopes'][number], string>>(
    scopes.map((it) => (typeof it === 'string' ? [it, { scope: it }] : [it.scope, it])),
  );
  for (const description of given) {
    const scope = [...result.keys()].find((name) => description.startsWith(`${name}=`));
    if (scope === undefined) {
      const message = `--describe ${description}: wants scope=words, for a scope of this API`;
      throw new AppError({ code: 'invalid_request', message });
    }
    result.set(scope, { scope, description: description.slice(scope.length + 1) });
  }
  return [...result.values()];
}

function toAnswer(api: Api): Answer {
  const { scopes, authorization_details_types, ...members } = present(api);
  const width = Math.max(0, ...api.scopes.map(({ scope }) => scope.length));
  const lines = api.scopes.map(({ scope, description }) => `  ${scope.padEnd(width)}  ${description}`);
  const text = toLines({
    ...members,
    authorization_details_types: authorization_details_types.map(({ type }) => type),
  });
  return {
    json: { ...members, authorization_details_types, scopes },
    text: [text, 'scopes', ...lines].join('\n'),
  };
}

function present(api: Api) {
  return {
    identifier: api.identifier,
    name: api.name,
    scopes: api.scopes,
    token_format: api.tokenFormat,
    signing_algorithm: api.signingAlgorithm,
    ttl_seconds: api.ttlSeconds,
    introspection_client_ids: api.introspectionClientIds,
    open_to_unregistered: api.isOpenToUnregistered,
    authorization_details_types: api.detailsTypes,
    created_at: api.createdAt,
    updated_at: api.updatedAt,
  };
}

/** RFC 9728, section 2. Tokens are taken from the header alone (RFC 9700, section 4.3.2). */
function toResourceMetadata(api: Api, issuer: string) {
  return {
    resource: api.identifier,
    authorization_servers: [issuer],
    scopes_supported: api.scopes.map(({ scope }) => scope),
    bearer_methods_supported: ['header'],
    ...(api.detailsTypes.length > 0 && {
      authorization_details_types_supported: api.detailsTypes.map(({ type }) => type),
    }),
    resource_name: api.name,
  };
}
