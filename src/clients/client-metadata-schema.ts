import { z } from 'zod';
import { PROFILES } from '../config/index.ts';
import { MAX_TTL_SECONDS } from './api.ts';
import { subjectFault } from './certificate-subject.ts';
import { calledUriFault, redirectUriFault, webUriFault } from './client-uris.ts';
import { isPlainText } from './plain-text.ts';
import { isScopeToken, scopesIn } from './scopes.ts';

const MAX_LIST_LENGTH = 200;
/** Metadata are held in memory on every node and travel in registration answers. */
const MAX_METADATA_CHARACTERS = 65_536;

/** RFC 6749, appendix A.1, without the space. */
const CLIENT_ID = /^[\x21-\x7e]{1,128}$/;
/** Ids that begin so are API keys, which authenticate at the same endpoints. */
const API_KEY_PREFIX = 'tsk_';

/**
 * Symmetric algorithms would be keyed with the client secret, which the server keeps only as a digest; `none` is no
 * signature at all.
 */
const REFUSED_ALGORITHM = /^(HS\d+|A\d+(GCM)?KW|PBES2.*|dir|none)$/i;

/** Private members of every JWK type (RFC 7518, section 6; RFC 9964 for `priv`). */
const PRIVATE_JWK_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'];

/** Below it, a client would ask for tokens all the time; above, APIs have their limit. */
const LEAST_TTL_SECONDS = 30;
const WANTED_TTL = `wants whole seconds from ${LEAST_TTL_SECONDS} to ${MAX_TTL_SECONDS}`;

const text = z
  .string('wants a text')
  .min(1, 'wants a text that is not empty')
  .max(2_048, 'is too long')
  .refine(isPlainText, 'wants a text without control characters');
const flag = z.boolean('wants true or false');
const texts = z.array(text, 'wants a list of texts').max(MAX_LIST_LENGTH, `wants at most ${MAX_LIST_LENGTH} entries`);
const checked = (fault: (value: string) => string | undefined) =>
  text.superRefine((value, context) => {
    const reason = fault(value);
    if (reason !== undefined) context.addIssue({ code: 'custom', message: `${value} ${reason}` });
  });
const webUri = checked(webUriFault);
const redirectUris = z
  .array(checked(redirectUriFault), 'wants a list of URIs')
  .max(MAX_LIST_LENGTH, `wants at most ${MAX_LIST_LENGTH} entries`);
const algorithm = checked((value) =>
  REFUSED_ALGORITHM.test(value) ? 'is refused: only asymmetric algorithms are offered, such as ES256' : undefined,
);

const publicJwk = z.looseObject({ kty: text }).superRefine((jwk, context) => {
  if (jwk.kty === 'oct') context.addIssue({ code: 'custom', message: 'has a symmetric key: wants public keys alone' });
  else if (PRIVATE_JWK_MEMBERS.some((member) => member in jwk)) {
    context.addIssue({ code: 'custom', message: 'has a private key: wants public keys alone' });
  }
});

const scope = z
  .string('wants scopes separated by spaces')
  .refine((value) => scopesIn(value).length > 0, 'wants at least one scope, or to be left out')
  .superRefine((value, context) => {
    for (const token of scopesIn(value)) {
      if (!isScopeToken(token))
        context.addIssue({ code: 'custom', message: `${token} is not a scope (RFC 6749, section 3.3)` });
    }
  })
  .transform((value) => scopesIn(value).join(' '));

/** The syntax of a client identifier; what does not have it is never looked up. */
export function isClientId(id: string): boolean {
  return CLIENT_ID.test(id) && !id.startsWith(API_KEY_PREFIX);
}

const AUTHENTICATION_METHODS = [
  'client_secret_basic',
  'client_secret_post',
  'private_key_jwt',
  'tls_client_auth',
  'self_signed_tls_client_auth',
  'none',
] as const;

/** RFC 8693, section 2.1. */
export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

const EXCHANGE_MODES = ['delegation', 'impersonation'] as const;

const authenticationMethod = z.enum(AUTHENTICATION_METHODS, {
  error: ({ input }) =>
    input === 'client_secret_jwt'
      ? 'client_secret_jwt is not offered: it would need the secret itself, and only its digest is kept; use private_key_jwt'
      : `wants one of ${AUTHENTICATION_METHODS.join(', ')}`,
});

/**
 * Every member that may be registered: RFC 7591, section 2, OpenID Connect Dynamic Client Registration 1.0, section 2,
 * the extensions in the IANA registry that oidc-provider reads, and our own. A member that is not here is refused, because a
 * misspelt `redirect_uri` would otherwise be dropped in silence.
 */
export const clientMetadataSchema = z
  .strictObject({
    client_id: z.string('wants a text').refine(isClientId, {
      error: ({ input }) =>
        String(input).startsWith(API_KEY_PREFIX)
          ? `must not begin with ${API_KEY_PREFIX}, as API keys do`
          : 'wants 1 to 128 printable ASCII characters without spaces (RFC 6749, appendix A.1)',
    }),
    client_name: text.optional(),
    redirect_uris: redirectUris.optional(),
    post_logout_redirect_uris: redirectUris.optional(),
    grant_types: texts.optional(),
    response_types: texts.optional(),
    response_modes: texts.optional(),
    token_endpoint_auth_method: authenticationMethod.optional(),
    token_endpoint_auth_signing_alg: algorithm.optional(),
    scope: scope.optional(),
    application_type: z.enum(['web', 'native'], 'wants web or native').optional(),
    contacts: texts.optional(),
    client_uri: webUri.optional(),
    logo_uri: webUri.optional(),
    policy_uri: webUri.optional(),
    tos_uri: webUri.optional(),
    initiate_login_uri: webUri.optional(),
    jwks_uri: webUri.optional(),
    jwks: z
      .strictObject({ keys: z.array(publicJwk).min(1, 'wants at least one key').max(50, 'wants at most 50 keys') })
      .optional(),
    sector_identifier_uri: webUri.optional(),
    subject_type: text.optional(),
    default_max_age: z.int('wants whole seconds').min(0, 'wants whole seconds').optional(),
    default_acr_values: texts.optional(),
    require_auth_time: flag.optional(),
    id_token_signed_response_alg: algorithm.optional(),
    id_token_encrypted_response_alg: algorithm.optional(),
    id_token_encrypted_response_enc: text.optional(),
    userinfo_signed_response_alg: algorithm.optional(),
    userinfo_encrypted_response_alg: algorithm.optional(),
    userinfo_encrypted_response_enc: text.optional(),
    introspection_signed_response_alg: algorithm.optional(),
    introspection_encrypted_response_alg: algorithm.optional(),
    introspection_encrypted_response_enc: text.optional(),
    authorization_signed_response_alg: algorithm.optional(),
    authorization_encrypted_response_alg: algorithm.optional(),
    authorization_encrypted_response_enc: text.optional(),
    request_object_signing_alg: algorithm.optional(),
    request_object_encryption_alg: algorithm.optional(),
    request_object_encryption_enc: text.optional(),
    require_signed_request_object: flag.optional(),
    require_pushed_authorization_requests: flag.optional(),
    software_id: text.optional(),
    software_version: text.optional(),
    // What somebody else signed about the software (RFC 7591, section 2.3): kept to be told again, and verified when it came.
    software_statement: z.string('wants a text').max(16_384, 'is too long').optional(),
    // Our own: what it is held to, by one word.
    profile: z.enum(PROFILES, `wants one of ${PROFILES.join(', ')}`).optional(),
    // Our own: a confidential client may be let off PKCE (RFC 9700, section 2.1.1).
    require_pkce: flag.optional(),
    // Our own, too: its access tokens live as long as their API says, and no longer than this.
    access_token_ttl_seconds: z
      .int(WANTED_TTL)
      .min(LEAST_TTL_SECONDS, WANTED_TTL)
      .max(MAX_TTL_SECONDS, WANTED_TTL)
      .optional(),
    // Our own: whether a token that it exchanges may, or may not, say that it was the client who did. Left out: it must.
    token_exchange_modes: z
      .array(z.enum(EXCHANGE_MODES, `wants ${EXCHANGE_MODES.join(' or ')}`), 'wants a list of modes')
      .min(1, 'wants at least one mode, or to be left out')
      .optional(),
    dpop_bound_access_tokens: flag.optional(),
    tls_client_certificate_bound_access_tokens: flag.optional(),
    use_mtls_endpoint_aliases: flag.optional(),
    tls_client_auth_subject_dn: checked(subjectFault('tls_client_auth_subject_dn')).optional(),
    tls_client_auth_san_dns: checked(subjectFault('tls_client_auth_san_dns')).optional(),
    tls_client_auth_san_uri: checked(subjectFault('tls_client_auth_san_uri')).optional(),
    tls_client_auth_san_ip: checked(subjectFault('tls_client_auth_san_ip')).optional(),
    tls_client_auth_san_email: checked(subjectFault('tls_client_auth_san_email')).optional(),
    authorization_details_types: texts.optional(),
    backchannel_logout_uri: checked(calledUriFault).optional(),
    backchannel_logout_session_required: flag.optional(),
    backchannel_token_delivery_mode: text.optional(),
    backchannel_client_notification_endpoint: webUri.optional(),
    backchannel_authentication_request_signing_alg: algorithm.optional(),
    backchannel_user_code_parameter: flag.optional(),
  })
  .refine((metadata) => JSON.stringify(metadata).length <= MAX_METADATA_CHARACTERS, {
    message: `wants at most ${MAX_METADATA_CHARACTERS} characters in all`,
    path: ['metadata'],
  });

/** Metadata as somebody gives them: what is left out has a default. */
export type GivenMetadata = z.infer<typeof clientMetadataSchema>;

/** Metadata as registered: with the members that everything else depends on. */
export type ClientMetadata = GivenMetadata & {
  grant_types: string[];
  response_types: string[];
  token_endpoint_auth_method: (typeof AUTHENTICATION_METHODS)[number];
};
