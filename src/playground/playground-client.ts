import { decodeJwt } from 'jose';
import * as openid from 'openid-client';
import type { Clock } from '../config/index.ts';
import type { Answer, Failure, PendingFlow, Tokens } from './playground-sessions.ts';

type Credentials = Readonly<{ id: string; secret: string }>;
type Result<Value> = Readonly<{ ok: true; value: Value } | { ok: false; failure: Failure & { status?: number } }>;

/** More than an answer from the same machine ever takes. */
const TIMEOUT_SECONDS = 10;

/**
 * A client of this server like any other: it knows the issuer, its own id and secret, and learns the rest from
 * discovery, anew each time, because keys rotate and developers restart. What the server refuses is returned.
 */
export type PlaygroundClient = Readonly<{
  metadata(): Promise<Result<openid.ServerMetadata>>;
  startCodeFlow(client: Credentials, options: StartOptions): Promise<Result<PendingFlow>>;
  finishCodeFlow(client: Credentials, flow: PendingFlow, answer: URL): Promise<Result<Tokens>>;
  clientCredentials(client: Credentials, parameters: Readonly<Record<string, string>>): Promise<Result<Tokens>>;
  refresh(client: Credentials, tokens: Tokens, resource: string | undefined): Promise<Result<Tokens>>;
  userinfo(client: Credentials, tokens: Tokens): Promise<Answer>;
  introspect(client: Credentials, token: string): Promise<Answer>;
  revoke(client: Credentials, token: string): Promise<Answer>;
}>;

type StartOptions = Readonly<{ redirectUri: string; parameters: Readonly<Record<string, string>> }>;

export function createPlaygroundClient({ issuer, clock }: { issuer: string; clock: Clock }): PlaygroundClient {
  async function connect({ id, secret }: Credentials): Promise<openid.Configuration> {
    // Signatures of ID tokens are checked too, which a code flow could do without (OpenID Connect Core, 3.1.3.7).
    const execute = [openid.enableNonRepudiationChecks];
    if (issuer.startsWith('http:')) execute.push(openid.allowInsecureRequests);
    return openid.discovery(new URL(issuer), id, undefined, openid.ClientSecretBasic(secret), {
      execute,
      timeout: TIMEOUT_SECONDS,
    });
  }

  /** Any answer of an endpoint, refusals too, as the developer should see it. */
  async function answerOf(work: () => Promise<unknown>): Promise<Answer> {
    const result = await attempt(work);
    if (result.ok) return { status: 200, body: result.value, at: clock() };
    const { code, description, status = 0 } = result.failure;
    return { status, body: { error: code, error_description: description }, at: clock() };
  }

  return {
    metadata: () => attempt(async () => (await connect({ id: 'playground', secret: 'unused' })).serverMetadata()),

    startCodeFlow: (client, { redirectUri, parameters }) =>
      attempt(async () => {
        const configuration = await connect(client);
        const codeVerifier = openid.randomPKCECodeVerifier();
        const state = openid.randomState();
        const nonce = asksForIdToken(parameters) ? openid.randomNonce() : undefined;
        const url = openid.buildAuthorizationUrl(configuration, {
          response_type: 'code',
          redirect_uri: redirectUri,
          ...parameters,
          code_challenge: await openid.calculatePKCECodeChallenge(codeVerifier),
          code_challenge_method: 'S256',
          state,
          ...(nonce === undefined ? {} : { nonce }),
        });
        return { codeVerifier, state, nonce, parameters, url: url.href };
      }),

    finishCodeFlow: (client, flow, answer) =>
      attempt(async () => {
        const { max_age: maxAge, resource } = flow.parameters;
        const checks = {
          pkceCodeVerifier: flow.codeVerifier,
          expectedState: flow.state,
          ...(flow.nonce === undefined ? {} : { expectedNonce: flow.nonce }),
          ...(flow.nonce === undefined || maxAge === undefined ? {} : { maxAge: Number(maxAge) }),
        };
        const tokens = await openid.authorizationCodeGrant(await connect(client), answer, checks, ofApi(resource));
        return toTokens(tokens);
      }),

    clientCredentials: (client, parameters) =>
      attempt(async () => toTokens(await openid.clientCredentialsGrant(await connect(client), { ...parameters }))),

    refresh: (client, tokens, resource) =>
      attempt(async () => {
        const { refreshToken = '' } = tokens;
        const fresh = toTokens(await openid.refreshTokenGrant(await connect(client), refreshToken, ofApi(resource)));
        // RFC 6749, section 6: without a new one, the refresh token stays what it was.
        return { ...fresh, refreshToken: fresh.refreshToken ?? refreshToken, idToken: fresh.idToken ?? tokens.idToken };
      }),

    userinfo: (client, tokens) =>
      answerOf(async () =>
        openid.fetchUserInfo(await connect(client), tokens.accessToken, expectedSubject(tokens.idToken)),
      ),

    introspect: (client, token) => answerOf(async () => openid.tokenIntrospection(await connect(client), token)),

    revoke: (client, token) => answerOf(async () => openid.tokenRevocation(await connect(client), token)),
  };
}

/** @returns the subject that userinfo must be about (OpenID Connect Core 1.0, section 5.3.2) */
function expectedSubject(idToken: string | undefined): string | typeof openid.skipSubjectCheck {
  return (idToken === undefined ? undefined : decodeJwt(idToken).sub) ?? openid.skipSubjectCheck;
}

/** A nonce is for ID tokens, and refused without (OpenID Connect Core 1.0, section 3.1.2.1). */
function asksForIdToken(parameters: Readonly<Record<string, string>>): boolean {
  return (parameters.scope ?? '').split(' ').includes('openid');
}

/** RFC 8707, section 2.2: the token request says again which API the access token is to be for. */
function ofApi(resource: string | undefined): Record<string, string> {
  return resource === undefined ? {} : { resource };
}

function toTokens(response: Awaited<ReturnType<typeof openid.clientCredentialsGrant>>): Tokens {
  return {
    accessToken: response.access_token,
    idToken: response.id_token,
    refreshToken: response.refresh_token,
    scope: response.scope,
    expiresInSeconds: response.expires_in,
  };
}

/** What can be expected to go wrong between a client and a server; anything else is a fault of ours and is thrown. */
async function attempt<Value>(work: () => Promise<Value>): Promise<Result<Value>> {
  try {
    return { ok: true, value: await work() };
  } catch (error) {
    const failure = failureOf(error);
    if (failure === undefined) throw error;
    return { ok: false, failure };
  }
}

function failureOf(error: unknown): (Failure & { status?: number }) | undefined {
  if (error instanceof openid.AuthorizationResponseError) {
    return { code: error.error, description: error.error_description };
  }
  if (error instanceof openid.ResponseBodyError) {
    return { code: error.error, description: error.error_description, status: error.status };
  }
  if (error instanceof openid.WWWAuthenticateChallengeError) {
    const { error: code = 'invalid_token', error_description: description } = error.cause[0]?.parameters ?? {};
    return { code, description, status: error.status };
  }
  if (error instanceof openid.ClientError) {
    const isLate = error.code === 'OAUTH_TIMEOUT';
    return { code: isLate ? 'unreachable' : 'invalid_response', description: reasonOf(error) };
  }
  // What fetch throws where no connection comes about.
  if (error instanceof TypeError && error.message === 'fetch failed') return { code: 'unreachable' };
  return undefined;
}

/** Its cause says which check it was; neither carries a token. */
function reasonOf(error: Error): string {
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
