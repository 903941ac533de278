import type { Profile } from '../config/index.ts';
import type { ClientMetadata, GivenMetadata } from './client-metadata-schema.ts';

/** Where neither a client nor the server says anything. */
export const DEFAULT_PROFILE: Profile = 'oauth2.1';

/** FAPI 2.0 Security Profile, section 5.4.1; FAPI-CIBA 1.0, section 7.10. */
export const FAPI_ALGORITHMS: readonly string[] = ['PS256', 'ES256', 'EdDSA', 'Ed25519'];
/** FAPI 2.0 Security Profile, section 5.4.1; in bits. */
const LEAST_RSA_BITS = 2_048;

type Metadata = GivenMetadata & Pick<ClientMetadata, 'grant_types' | 'response_types' | 'token_endpoint_auth_method'>;

/** A demand of a profile: what it switches on where nothing is said, what it takes, and where that is written. */
type Demand = Readonly<{
  member: keyof GivenMetadata;
  /** Taken for what is left out; undefined: nothing is. */
  unlessSaid?(metadata: Metadata): unknown;
  allows(value: never, metadata: Metadata): boolean;
  wants: string;
  rule: string;
}>;

const SECURITY = 'FAPI 2.0 Security Profile, section';
const SIGNING = 'FAPI 2.0 Message Signing, section';
const CIBA = 'FAPI-CIBA 1.0, section';

const isCodeAtMost = (types: readonly string[]) => types.every((type) => type === 'code');
const isSigned = (value: string | undefined) => value === undefined || FAPI_ALGORITHMS.includes(value);
const signedStrongly = { allows: isSigned, wants: FAPI_ALGORITHMS.join(', ') };
const signedByEs256 = { ...signedStrongly, unlessSaid: () => 'ES256' };
/** Of what only clients with redirects have. */
const trueForCodes = {
  unlessSaid: ({ response_types }: Metadata) => (response_types.length > 0 ? true : undefined),
  allows: (value: unknown, { response_types }: Metadata) => value === true || response_types.length === 0,
  wants: 'true',
};
const alwaysTrue = { unlessSaid: () => true, allows: (value: unknown) => value === true, wants: 'true' };
const authenticatesStrongly = {
  member: 'token_endpoint_auth_method',
  allows: (method: string) => ['private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth'].includes(method),
  wants: 'private_key_jwt, tls_client_auth or self_signed_tls_client_auth',
} as const;

const isBound = ({ dpop_bound_access_tokens: dpop, tls_client_certificate_bound_access_tokens: tls }: Metadata) =>
  dpop === true || tls === true;

const codeOnly = (rule: string): Demand => ({
  member: 'response_types',
  allows: isCodeAtMost,
  wants: 'code alone',
  rule,
});

const strongKeys: Demand = {
  member: 'jwks',
  allows: (jwks: { keys: readonly { [member: string]: unknown }[] } | undefined) =>
    (jwks?.keys ?? []).every(({ kty, n }) => kty !== 'RSA' || bitsOf(n) >= LEAST_RSA_BITS),
  wants: `RSA keys of at least ${LEAST_RSA_BITS} bits`,
  rule: `${SECURITY} 5.4.1`,
};

const security: readonly Demand[] = [
  { ...authenticatesStrongly, rule: `${SECURITY} 5.3.2.1` },
  {
    member: 'require_pushed_authorization_requests',
    ...trueForCodes,
    rule: `${SECURITY} 5.3.2.2`,
  },
  {
    member: 'dpop_bound_access_tokens',
    unlessSaid: (metadata) => (isBound(metadata) ? undefined : true),
    allows: (_value: unknown, metadata) => isBound(metadata),
    wants: 'true, or tls_client_certificate_bound_access_tokens',
    rule: `${SECURITY} 5.3.2.1`,
  },
  {
    member: 'require_pkce',
    ...alwaysTrue,
    rule: `${SECURITY} 5.3.2.2`,
  },
  codeOnly(`${SECURITY} 5.3.2.2`),
  {
    member: 'redirect_uris',
    allows: (uris: readonly string[] | undefined) => (uris ?? []).every((uri) => uri.startsWith('https:')),
    wants: 'https alone',
    rule: `${SECURITY} 5.3.2.2`,
  },
  { member: 'id_token_signed_response_alg', ...signedByEs256, rule: `${SECURITY} 5.4.1` },
  {
    member: 'token_endpoint_auth_signing_alg',
    ...signedStrongly,
    rule: `${SECURITY} 5.4.1`,
  },
  strongKeys,
];

const messageSigning: readonly Demand[] = [
  ...security,
  {
    member: 'require_signed_request_object',
    ...trueForCodes,
    rule: `${SIGNING} 5.3.1`,
  },
  {
    member: 'response_modes',
    unlessSaid: ({ response_types }) => (response_types.length > 0 ? ['jwt', 'query.jwt', 'form_post.jwt'] : undefined),
    allows: (modes: readonly string[] | undefined, { response_types }) =>
      response_types.length === 0 || (modes?.length !== 0 && modes?.every((mode) => /jwt$/.test(mode)) === true),
    wants: 'signed responses alone, such as jwt',
    rule: `${SIGNING} 5.4.1`,
  },
  { member: 'authorization_signed_response_alg', ...signedByEs256, rule: `${SIGNING} 5.4.1` },
  { member: 'introspection_signed_response_alg', ...signedByEs256, rule: `${SIGNING} 5.5.1` },
  {
    member: 'request_object_signing_alg',
    ...signedStrongly,
    rule: `${SECURITY} 5.4.1`,
  },
];

const fapiCiba: readonly Demand[] = [
  { ...authenticatesStrongly, rule: `${CIBA} 5.2.2` },
  {
    member: 'tls_client_certificate_bound_access_tokens',
    ...alwaysTrue,
    rule: `${CIBA} 5.2.2, by FAPI 1.0 Advanced`,
  },
  {
    member: 'backchannel_authentication_request_signing_alg',
    ...signedByEs256,
    rule: `${CIBA} 5.2.2`,
  },
  {
    member: 'backchannel_token_delivery_mode',
    unlessSaid: () => 'poll',
    allows: (mode: string) => mode === 'poll' || mode === 'ping',
    wants: 'poll or ping',
    rule: `${CIBA} 5.2.2`,
  },
  { member: 'id_token_signed_response_alg', ...signedByEs256, rule: `${CIBA} 7.10` },
  codeOnly(`${CIBA} 5.2.2`),
  strongKeys,
];

const demands: Readonly<Record<Profile, readonly Demand[]>> = {
  'oauth2.1': [codeOnly('RFC 9700, section 2.1.2: with profile oidc-basic there are others')],
  'oidc-basic': [
    {
      member: 'require_pkce',
      unlessSaid: ({ token_endpoint_auth_method }) => (token_endpoint_auth_method === 'none' ? undefined : false),
      allows: () => true,
      wants: '',
      rule: '',
    },
  ],
  'fapi2-security': security,
  'fapi2-message-signing': messageSigning,
  'fapi-ciba': fapiCiba,
};

/** Metadata with what their profile switches on where they say nothing. */
export function withProfile<T extends Metadata>(metadata: T): T {
  let completed = metadata;
  for (const { member, unlessSaid } of demands[profileOf(metadata)]) {
    if (completed[member] !== undefined) continue;
    const value = unlessSaid?.(completed);
    if (value !== undefined) completed = { ...completed, [member]: value };
  }
  return completed;
}

/** The first demand of a profile that metadata do not meet. @param profile their own, unless told */
export function profileFault(
  metadata: Metadata,
  profile: Profile = profileOf(metadata),
): { field: keyof GivenMetadata; reason: string } | undefined {
  const unmet = demands[profile].find(({ member, allows }) => !allows(metadata[member] as never, metadata));
  return unmet && { field: unmet.member, reason: `profile ${profile} wants ${unmet.wants} (${unmet.rule})` };
}

function profileOf({ profile }: Pick<GivenMetadata, 'profile'>): Profile {
  return profile ?? DEFAULT_PROFILE;
}

/** @param n the modulus of an RSA key, as base64url without zeros before it (RFC 7518, section 6.3.1.1) */
function bitsOf(n: unknown): number {
  return typeof n === 'string' ? Buffer.from(n, 'base64url').length * 8 : 0;
}
