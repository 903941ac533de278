import type { AdapterFactory, Configuration, JWK, KoaContextWithOIDC } from 'oidc-provider';
import { type Account, type Accounts, toClaims } from '../accounts/index.ts';
import { type Apis, OPENID_SCOPES } from '../clients/index.ts';
import { CLOCK_TOLERANCE_SECONDS, type Config, systemClock } from '../config/index.ts';
import type { SigningAlgorithm } from '../keys/index.ts';
import { answerAlgorithms, answerFeatures } from './answer-formats.ts';
import { authorizationFeatures } from './authorization-features.ts';
import type { Callers } from './callers.ts';
import { ACR_PASSWORD, OPENID_SCOPE_CLAIMS } from './claims.ts';
import type { ConsentsStore } from './consents-store.ts';
import type { ContextualClaims } from './contextual-claims.ts';
import { type DevicePages, deviceFlow } from './device-flow.ts';
import { failClosed } from './faults.ts';
import { loadExistingGrant } from './grants.ts';
import { createInteractionPolicy } from './interaction-policy.ts';
import { lifetimesOf } from './lifetimes.ts';
import {
  type ClientCertificates,
  mtlsAuthMethods,
  mtlsDiscovery,
  mtlsExtraMetadata,
  mtlsFeature,
  refuseBoundTokens,
} from './mtls.ts';
import { createOutboundFetch, MAX_OUTBOUND_BYTES } from './outbound-fetch.ts';
import { pairwiseSubject } from './pairwise.ts';
import { isOriginAllowed, mayIntrospect, mayRevoke, rotatesRefreshToken } from './policies.ts';
import { checkAssertion, PROFILE, profileFeatures, serverOffers } from './profile-features.ts';
import { ACCESS_TOKEN_TTL, ALLOWED_ORIGINS, isPkceRequired, REQUIRE_PKCE } from './provider-client.ts';
import { isRotationRetry } from './refresh-rotation.ts';
import { type Registration, SOFTWARE_STATEMENT } from './registration.ts';
import { defaultResource, resourceServerInfo } from './resources.ts';
import { richAuthorizationRequests } from './rich-authorization.ts';
import { customizeJwt, extraTokenClaims } from './token-claims.ts';

/** The pages that the provider shows by itself; `interactions/` makes them. */
export interface ProviderPages extends DevicePages {
  signOut(context: KoaContextWithOIDC, formHtml: string): void | Promise<void>;
  signedOut(context: KoaContextWithOIDC): void | Promise<void>;
  readonly locales: readonly string[];
}

export type ConfigurationInputs = {
  config: Config;
  adapter: AdapterFactory;
  accounts: Accounts;
  apis: Apis;
  clients: Callers;
  consents: ConsentsStore;
  pages: ProviderPages;
  /** Absent where nobody is served. */
  clientCertificates?: ClientCertificates | undefined;
  /** A deployment's own code, where it has some. */
  contextualClaims?: ContextualClaims | undefined;
  cookieKeys: readonly string[];
  /** 32 bytes; makes the nonces of DPoP proofs. */
  dpopNonceSecret: Buffer;
  /** 32 bytes; makes pairwise subjects. */
  pairwiseSecret: Buffer;
  /** Whether what a client's metadata name elsewhere is looked at, too. */
  isRegistering?: boolean | undefined;
  /** How clients register themselves; absent: they don't. */
  registration?: Registration | undefined;
  /** Private keys; of each algorithm the one that signs stands first. */
  signingKeys: readonly JWK[];
  /** Those that there is a key for that signs. */
  signingAlgorithms: readonly SigningAlgorithm[];
};

/** Signing algorithms of tokens, and of what clients sign. Symmetric ones are left out: a stored digest must sign nothing. */
const ACCEPTED_ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'] as const;

/** Endpoint paths: a fixed contract with everyone who calls this server. */
export const routes = {
  authorization: '/authorize',
  token: '/token',
  userinfo: '/userinfo',
  introspection: '/introspect',
  revocation: '/revoke',
  jwks: '/jwks',
  end_session: '/logout',
  pushed_authorization_request: '/par',
  device_authorization: '/device_authorization',
  code_verification: '/device',
  registration: '/register',
};

/** Everything that the library is told. Pure: the same inputs make the same configuration. */
export function providerConfiguration(inputs: ConfigurationInputs): Configuration {
  const { config, accounts, apis, clients, consents, pages } = inputs;
  const offers = serverOffers(config);
  const accepted = offers.algorithms(ACCEPTED_ALGORITHMS);
  return {
    adapter: inputs.adapter,
    jwks: { keys: [...inputs.signingKeys] },
    routes,
    acrValues: [ACR_PASSWORD],
    // The library reads these once: a new API makes a new provider (provider-handle.ts).
    scopes: [...new Set([...OPENID_SCOPES, ...apis.all().flatMap((api) => api.scopes.map(({ scope }) => scope))])],
    claims: { ...OPENID_SCOPE_CLAIMS, iss: null, sid: null },
    responseTypes: [...offers.responseTypes],
    subjectTypes: ['public', 'pairwise'],
    pairwiseIdentifier: (_context, accountId, client) =>
      pairwiseSubject(inputs.pairwiseSecret, client.sectorIdentifier, accountId),
    // What was looked at when the client was registered is not fetched again for each of its requests.
    sectorIdentifierUriValidate: () => inputs.isRegistering === true,
    clientAuthMethods: offers.authMethods([
      'client_secret_basic',
      'client_secret_post',
      'private_key_jwt',
      ...mtlsAuthMethods(config),
      'none',
    ]),
    enabledJWA: {
      clientAuthSigningAlgValues: accepted,
      dPoPSigningAlgValues: accepted,
      ...answerAlgorithms(offers.algorithms(inputs.signingAlgorithms)),
      requestObjectSigningAlgValues: accepted,
    },
    clientDefaults: {
      grant_types: [],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_basic',
      ...offers.defaultAlgorithms,
    },
    assertJwtClientAuthClaimsAndHeader: checkAssertion(config, systemClock),
    extraClientMetadata: {
      properties: [
        SOFTWARE_STATEMENT,
        'software_id',
        'software_version',
        ACCESS_TOKEN_TTL,
        ALLOWED_ORIGINS,
        PROFILE,
        REQUIRE_PKCE,
        ...mtlsExtraMetadata(config),
      ],
      validator(context, member, value, metadata) {
        // With a context, somebody registers a client: once for all members, before the library looks at them.
        if (context !== undefined && member === SOFTWARE_STATEMENT) inputs.registration?.prepare(context, metadata);
        refuseBoundTokens(config, member, metadata[member] ?? value);
      },
    },
    allowOmittingSingleRegisteredRedirectUri: false,
    clockTolerance: CLOCK_TOLERANCE_SECONDS,
    clientBasedCORS: (_context, origin, client) => isOriginAllowed(origin, client),
    cookies: cookieSettings(inputs.cookieKeys, config.isSecure),
    discovery: {
      ui_locales_supported: [...pages.locales],
      ...mtlsDiscovery(config, routes),
      ...(config.letsDescribedClientsIn ? { client_id_metadata_document_supported: true } : undefined),
    },
    pkce: { required: (_context, client) => isPkceRequired(client) },
    rotateRefreshToken: (context) => isRotationRetry(context) || rotatesRefreshToken(context),
    // The library would leave the grant when an access token is revoked, and a refresh in flight would outlive it.
    revokeGrantPolicy: () => true,
    loadExistingGrant: (context) => failClosed(() => loadExistingGrant(context, { consents })),
    findAccount: (_context, id) => failClosed(async () => toProviderAccount(await accounts.find(id))),
    renderError: (context, out, error) => pages.error(context, out, error),
    interactions: {
      policy: createInteractionPolicy(),
      url: (_context, interaction) => `/interaction/${interaction.uid}`,
    },
    formats: {
      customizers: {
        jwt: (context, token, jwt) =>
          customizeJwt(context, token, jwt, {
            accounts,
            clients,
            budget: { maxBytes: config.maxAccessTokenBytes, signingKeys: inputs.signingKeys },
          }),
      },
    },
    // Whoever registers an address makes the server call it.
    fetch: createOutboundFetch(config.outbound),
    fetchResponseBodyLimits: { jwks_uri: MAX_OUTBOUND_BYTES, sector_identifier_uri: MAX_OUTBOUND_BYTES },
    extraTokenClaims: (context, token) => extraTokenClaims(context, token, inputs.contextualClaims),
    ttl: lifetimesOf(config),
    features: {
      devInteractions: { enabled: false },
      // Nonces bound how long a proof that was made ahead, or stolen, is good for (RFC 9449, sections 8 and 11.2): every one
      // has to bear one, at the token endpoint and at userinfo. Clients get it with a first refusal.
      dPoP: { enabled: true, nonceSecret: inputs.dpopNonceSecret, requireNonce: () => true, allowReplay: false },
      mTLS: mtlsFeature(config, inputs.clientCertificates),
      ...authorizationFeatures(offers),
      ...profileFeatures(config),
      ...answerFeatures,
      ...inputs.registration?.features,
      claimsParameter: { enabled: true },
      clientCredentials: { enabled: true },
      deviceFlow: deviceFlow(pages),
      userinfo: { enabled: true },
      introspection: {
        enabled: true,
        allowedPolicy: (_context, client, token) =>
          mayIntrospect(
            client.clientId,
            {
              clientId: token.clientId,
              accountId: 'accountId' in token ? token.accountId : undefined,
              audience: 'aud' in token && typeof token.aud === 'string' ? token.aud : undefined,
              scope: token.scope,
            },
            { clients, apis, accounts },
          ),
      },
      revocation: { enabled: true, allowedPolicy: (_context, client, token) => mayRevoke(client, token) },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (context, form) => pages.signOut(context, form),
        postLogoutSuccessSource: (context) => pages.signedOut(context),
      },
      richAuthorizationRequests: richAuthorizationRequests({ apis, clients }),
      resourceIndicators: {
        enabled: true,
        defaultResource: (context, client, granted) =>
          defaultResource(context, client.clientId, granted as string[] | undefined, {
            apis,
            clients,
          }) as Promise<string>,
        getResourceServerInfo: (context, identifier, client) =>
          resourceServerInfo(context, identifier, client.clientId, { apis, clients }),
      },
    },
  };
}

/** Prefixes bind a cookie to https and, for the session, to this very host (RFC 6265bis, section 4.1.3). */
function cookieSettings(keys: readonly string[], isSecure: boolean): NonNullable<Configuration['cookies']> {
  const options = { httpOnly: true, sameSite: 'lax', secure: isSecure, signed: true } as const;
  return {
    keys: [...keys],
    names: {
      session: isSecure ? '__Host-tessera_session' : 'tessera_session',
      interaction: isSecure ? '__Secure-tessera_interaction' : 'tessera_interaction',
      resume: isSecure ? '__Secure-tessera_resume' : 'tessera_resume',
    },
    long: { ...options, path: '/' },
    short: options,
  };
}

function toProviderAccount(account: Account | undefined) {
  if (account === undefined || account.isDisabled) return undefined;
  return { accountId: account.id, claims: () => ({ ...toClaims(account), sub: account.id }) };
}
