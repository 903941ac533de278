import { generateKeyPair, SignJWT } from 'jose';
import type { ApiKeyOwner } from '../../src/api-keys/index.ts';
import { createTestApiKey } from '../harness/api-keys.ts';
import { openDatabaseWay } from '../harness/database-way.ts';
import { makeProofKeyPair, proofOf, requestWithProof } from '../harness/dpop.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  type TestClient,
  unique,
} from '../harness/factories.ts';
import { signInForTokens } from '../harness/flows.ts';
import { recordingLogger } from '../harness/loggers.ts';
import { startTestServer } from '../harness/server.ts';
import { serviceToken, type Tokens } from '../harness/token-requests.ts';

export const READ_SCOPE = 'read';
export const ADMIN_SCOPE = 'admin';
const DEFAULT_TTL_SECONDS = 600;

type Format = 'jwt' | 'opaque';
type TokenOptions = { scope?: string; audience?: string; ttlSeconds?: number };

type ApiKeyInHand = Readonly<{
  /** As it is sent. */
  key: string;
  clientId: string;
  ownerId: string;
  /** On this server, as by the command line. */
  revoke(): Promise<void>;
}>;

/** A real server with an API in it, and whoever calls that API. */
export type ProtectedApi = Readonly<{
  issuer: string;
  /** The API that the example guards. */
  audience: string;
  /** Another one, of which the example's client may know everything, too: that must not open the example. */
  otherAudience: string;
  /** What the example introspects with. */
  introspectionClient: TestClient;
  /** Calls by client credentials. */
  service: TestClient;
  /** The app that people use, and one of them. */
  app: TestClient;
  accountId: string;
  serviceToken(format: Format, options?: TokenOptions): Promise<string>;
  /** Of a person, who allowed it to the app. The ID token comes along. */
  personTokens(format: Format, scope?: string): Promise<Tokens & { id_token: string }>;
  /** Gives that person roles. @param roles none: takes all away */
  setRoles(roles: readonly string[]): Promise<void>;
  /** Of the service, or of the person where it is to be theirs. */
  apiKey(options?: {
    scope?: string;
    audience?: string;
    allowedAddresses?: string[];
    isPersons?: boolean;
  }): Promise<ApiKeyInHand>;
  /** Bound to a key that whoever sends it would have to prove (RFC 9449). */
  boundToken(format: Format): Promise<string>;
  /** Signs claims with the key that the server itself signs with. */
  signAsServer(claims: Record<string, unknown>, header?: { typ?: string; kid?: string }): Promise<string>;
  /** The same with a key that nobody publishes. */
  signAsStranger(claims: Record<string, unknown>, header?: { typ?: string; kid?: string }): Promise<string>;
  /** How often the server was asked for an introspection, by anyone. */
  introspectionCount(): number;
  /** From now on the server is sent questions and never answers: nobody hears that it doesn't. */
  hang(): void;
  /** The server answers nobody any more; what was closed may be closed again. */
  close(): Promise<void>;
}>;

/** Starts a server with a database of its own, and all that in it. */
export async function startProtectedApi(): Promise<ProtectedApi> {
  const log = recordingLogger();
  // TCP is TCP: what can be silenced on its way to a database can be on its way to an issuer. Where it leads is known below.
  const way = await openDatabaseWay('http://127.0.0.1:9');
  const server = await startTestServer({ logger: log.logger, environment: { ISSUER: new URL(way.url).origin } });
  way.moveTo(server.address);
  const { domains, issuer } = server;
  const scopes = [READ_SCOPE, ADMIN_SCOPE];
  const { identifier: audience } = await createTestApi(domains, { scopes });
  const { identifier: otherAudience } = await createTestApi(domains, { scopes });
  const introspectionClient = await createServiceClient(domains, READ_SCOPE);
  const service = await createServiceClient(domains, scopes.join(' '));
  const app = await createTestClient(domains, { metadata: { scope: `openid ${scopes.join(' ')}` } });
  const person = await createTestAccount(domains);
  for (const identifier of [audience, otherAudience]) {
    await changeApi(identifier, { introspectionClientIds: [introspectionClient.id] });
  }
  const { privateJwks } = await domains.signingKeys.load();
  const serverKey = privateJwks.find(({ alg }) => alg === 'RS256');
  if (serverKey?.kid === undefined) throw new Error('no key signs RS256');
  const { kid } = serverKey;
  const stranger = await generateKeyPair('RS256');

  async function changeApi(identifier: string, patch: Parameters<typeof domains.apis.update>[1]): Promise<void> {
    const changed = await domains.apis.update(identifier, patch);
    if (!changed.ok) throw new Error(changed.reason);
  }

  /** An API's tokens have one format at a time; what was issued before keeps its own. */
  async function issueIn<T>(
    tokenFormat: Format,
    { audience: identifier = audience, ttlSeconds = DEFAULT_TTL_SECONDS }: TokenOptions,
    issue: () => Promise<T>,
  ): Promise<T> {
    await changeApi(identifier, { tokenFormat, ttlSeconds });
    return issue();
  }

  let closing: Promise<void> | undefined;

  return {
    issuer,
    audience,
    otherAudience,
    introspectionClient,
    service,
    app,
    accountId: person.account.id,
    serviceToken: (format, options = {}) =>
      issueIn(format, options, () =>
        serviceToken(issuer, service, {
          scope: options.scope ?? READ_SCOPE,
          resource: options.audience ?? audience,
        }),
      ),
    personTokens: (format, scope = READ_SCOPE) =>
      issueIn(format, {}, async () => {
        const tokens = await signInForTokens(issuer, app, person, {
          parameters: { scope: `openid ${scope}`, resource: audience, prompt: 'consent' },
          redemption: { resource: audience },
        });
        return { ...tokens, id_token: tokens.id_token ?? '' };
      }),
    async setRoles(roles) {
      await domains.accounts.setRoles(person.account.id, roles);
    },
    async apiKey(options = {}) {
      const owner: ApiKeyOwner = options.isPersons
        ? { kind: 'account', accountId: person.account.id }
        : { kind: 'client', clientId: service.id };
      const { apiKey, key, id } = await createTestApiKey(domains, {
        owner,
        scopes: [options.scope ?? READ_SCOPE],
        apis: [options.audience ?? audience],
        allowedAddresses: options.allowedAddresses ?? [],
      });
      return {
        key,
        clientId: id,
        ownerId: owner.kind === 'account' ? owner.accountId : owner.clientId,
        async revoke() {
          await domains.apiKeys.revoke(apiKey.id);
        },
      };
    },
    boundToken: (format) =>
      issueIn(format, {}, async () => {
        const keys = await makeProofKeyPair();
        const htu = `${issuer}/token`;
        const parameters = { scope: READ_SCOPE, resource: audience };
        const { nonce } = await requestWithProof(issuer, service, await proofOf(keys, { htu }), parameters);
        const { body } = await requestWithProof(issuer, service, await proofOf(keys, { htu, nonce }), parameters);
        if (body.token_type !== 'DPoP') throw new Error(`no bound token: ${JSON.stringify(body)}`);
        return String(body.access_token);
      }),
    signAsServer: (claims, header) =>
      new SignJWT(claims).setProtectedHeader({ alg: 'RS256', typ: 'at+jwt', kid, ...header }).sign(serverKey),
    signAsStranger: (claims, header) =>
      new SignJWT(claims)
        .setProtectedHeader({ alg: 'RS256', typ: 'at+jwt', kid: unique('key'), ...header })
        .sign(stranger.privateKey),
    introspectionCount: () => log.lines.filter(({ endpoint }) => endpoint === 'introspection').length,
    hang: way.silence,
    close() {
      closing ??= way.cut().then(server.close);
      return closing;
    },
  };
}
