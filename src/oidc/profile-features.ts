import { type Configuration, errors, type KoaContextWithOIDC } from 'oidc-provider';
import {
  type ClientMetadata,
  DEFAULT_PROFILE,
  FAPI_ALGORITHMS,
  profileFault,
  type RegisteredClient,
} from '../clients/index.ts';
import type { Clock, Config, Profile } from '../config/index.ts';

type Client = { clientId: string; [member: string]: unknown };

/** Our own member of the client metadata that says what it is held to. */
export const PROFILE = 'profile';

const FAPI: Readonly<Partial<Record<Profile, '1.0 Final' | '2.0'>>> = {
  'fapi2-security': '2.0',
  'fapi2-message-signing': '2.0',
  'fapi-ciba': '1.0 Final',
};

/** FAPI 2.0 Security Profile, section 5.3.2.1: ten seconds have to be taken, more than sixty refused. */
const MOST_SECONDS_AHEAD = 60;

const SIGNED_ANSWERS = ['id_token', 'authorization', 'introspection'];

/** FAPI 2.0 Security Profile, section 5.3.2.1; in seconds. */
const FAPI_CODE_SECONDS = 60;

/** What the library calls a profile, of a client or else of the whole server. */
function fapiProfile(config: Pick<Config, 'profile'>, client: Client | undefined): '1.0 Final' | '2.0' | undefined {
  return FAPI[client?.[PROFILE] as Profile] ?? FAPI[config.profile];
}

/** The part of the library's configuration that hangs on profiles. */
export function profileFeatures(config: Pick<Config, 'profile'>): Pick<NonNullable<Configuration['features']>, 'fapi'> {
  return {
    fapi: {
      enabled: true,
      profile: (_context, client) => fapiProfile(config, client as Client | undefined),
    },
  };
}

/** How long a code lives, in seconds: no longer than its client's profile lets it. */
export function codeSeconds(config: Pick<Config, 'profile' | 'lifetimes'>, client: Client): number {
  const { authorizationCodeSeconds } = config.lifetimes;
  return fapiProfile(config, client) === undefined
    ? authorizationCodeSeconds
    : Math.min(authorizationCodeSeconds, FAPI_CODE_SECONDS);
}

/**
 * Checks an assertion by which a client authenticates, beyond what the library does: it comes from no time ahead, and where FAPI
 * holds it is for this very issuer, as one text, by an algorithm of FAPI 2.0 Security Profile, section 5.4.1.
 */
export function checkAssertion(config: Pick<Config, 'profile'>, clock: Clock) {
  return async (
    context: KoaContextWithOIDC,
    claims: Record<string, unknown>,
    header: Record<string, unknown>,
    client: Client,
  ): Promise<void> => {
    // The library looks at `nbf` alone.
    if (typeof claims.iat === 'number' && claims.iat > clock() / 1_000 + MOST_SECONDS_AHEAD) {
      throw new errors.InvalidClientAuth('iat (JWT issued at) is too far in the future');
    }
    const profile = fapiProfile(config, client);
    if (profile === undefined) return;
    if (profile === '2.0' && claims.aud !== context.oidc.issuer) {
      throw new errors.InvalidClientAuth('audience (aud) must equal the issuer identifier url');
    }
    if (!FAPI_ALGORITHMS.includes(String(header.alg))) {
      throw new errors.InvalidClientAuth(`alg must be one of ${FAPI_ALGORITHMS.join(', ')}`);
    }
  };
}

/** What a list of algorithms, methods or types is reduced to where the whole server is held to a profile. */
export function serverOffers(config: Pick<Config, 'profile' | 'responseTypes' | 'requiresPushedRequests'>) {
  const isFapi = FAPI[config.profile] !== undefined;
  return {
    algorithms: <T extends string>(all: readonly T[]): T[] =>
      isFapi ? all.filter((name) => FAPI_ALGORITHMS.includes(name)) : [...all],
    authMethods: <T extends string>(all: readonly T[]): T[] =>
      isFapi ? all.filter((method) => /^(private_key_jwt|(self_signed_)?tls_client_auth)$/.test(method)) : [...all],
    responseTypes: isFapi ? (['code'] as const) : config.responseTypes,
    requiresPushedRequests: config.requiresPushedRequests || FAPI[config.profile] === '2.0',
    requiresSignedRequests: config.profile === 'fapi2-message-signing',
    /** Of what clients get signed where they say nothing; else it is RS256. */
    defaultAlgorithms: isFapi
      ? Object.fromEntries(SIGNED_ANSWERS.map((answer) => [`${answer}_signed_response_alg`, 'ES256']))
      : {},
  };
}

/** Why a client can't be had where the whole server is held to a profile, if it can't. */
export function serverProfileFault(config: Pick<Config, 'profile'>, metadata: ClientMetadata): string | undefined {
  if (config.profile === DEFAULT_PROFILE) return undefined;
  const fault = profileFault(metadata, config.profile);
  return fault && `${fault.field}: ${fault.reason}`;
}

/** @throws what refuses a client that was registered before the server was held to its profile, and says why */
export function holdToServerProfile(
  config: Pick<Config, 'profile'>,
  { metadata }: Pick<RegisteredClient, 'metadata'>,
): void {
  const fault = serverProfileFault(config, metadata);
  if (fault !== undefined) throw new errors.UnauthorizedClient(fault);
}
