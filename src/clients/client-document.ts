import { checkNewClient } from './check-client.ts';
import type { ClientMetadata, GivenMetadata } from './client-metadata-schema.ts';
import { isOnDevice } from './client-uris.ts';
import { isOpenIdScope, OPENID_SCOPES, scopesIn } from './scopes.ts';

/** An id stands in every token and in indexes of the database; in practice these URLs have fewer than 100 characters. */
const MAX_URL_LENGTH = 512;
/** What fits a line of the consent page; who needs more wants to hide what stands behind it. */
export const MAX_NAME_LENGTH = 100;

/** What a person is there for. Anything else would be a service, which has to be known to be trusted. */
const GRANTS = ['authorization_code', 'refresh_token'];
/** Public, or with a key of its own: a secret in a public document is none (section 8.2 of the draft). */
const AUTHENTICATION_METHODS = ['none', 'private_key_jwt'];
/** Shown as links, so that they have to lead to whoever describes the client. */
const LINKS = ['client_uri', 'policy_uri', 'tos_uri'] as const;
/** What is taken over as it stands. A logo is not: it would tell a stranger's server who signs in, and can be anybody's. */
const TAKEN = [
  'client_name',
  'redirect_uris',
  'post_logout_redirect_uris',
  'application_type',
  'contacts',
  'jwks',
  'jwks_uri',
  'token_endpoint_auth_signing_alg',
  'id_token_signed_response_alg',
  'dpop_bound_access_tokens',
] as const satisfies readonly (keyof GivenMetadata)[];

/** What a document says of its client; the scopes that it will ask for, where it says so, stand beside the metadata. */
export type ReadDocument =
  | Readonly<{ ok: true; metadata: ClientMetadata; scopes: readonly string[] | undefined; origins: readonly string[] }>
  | Readonly<{ ok: false; reason: string }>;

/**
 * Whether a client's id is the URL of a document that describes it (draft-ietf-oauth-client-id-metadata-document-02,
 * section 3). Stricter than the draft in one thing: only a URL in its normal form, as two spellings would be two clients.
 */
export function isDocumentUrl(id: string): boolean {
  if (id.length > MAX_URL_LENGTH || !id.startsWith('https://') || id.includes('#')) return false;
  const url = URL.parse(id);
  return url !== null && url.href === id && url.pathname !== '/' && url.username === '' && url.password === '';
}

/**
 * Reads a document as client metadata (section 4 of the draft): what is not known is passed over, what a client that nobody
 * registered may not have is left out where it can do without, and refused where it can't.
 *
 * @param id the URL that the document was found at
 */
export function readClientDocument(id: string, document: unknown): ReadDocument {
  if (!isObject(document)) return refusal('is no JSON object');
  if (document.client_id !== id) return refusal('has another client_id than its own URL');
  if ('client_secret' in document || 'client_secret_expires_at' in document) return refusal('has a client_secret');
  const method = document.token_endpoint_auth_method ?? 'none';
  if (typeof method !== 'string' || !AUTHENTICATION_METHODS.includes(method)) {
    return refusal(`token_endpoint_auth_method wants one of ${AUTHENTICATION_METHODS.join(', ')}`);
  }
  const { client_name: name, redirect_uris: redirectUris, scope } = document;
  if (typeof name === 'string' && name.length > MAX_NAME_LENGTH) {
    return refusal(`client_name wants at most ${MAX_NAME_LENGTH} characters`);
  }
  if (scope !== undefined && typeof scope !== 'string') return refusal('scope wants scopes separated by spaces');
  const taken = Object.fromEntries(TAKEN.flatMap((member) => (member in document ? [[member, document[member]]] : [])));
  const metadata = {
    ...taken,
    ...linksOf(document, new URL(id).hostname),
    ...(isListOfTexts(redirectUris) && redirectUris.some(isOnDevice) && !('application_type' in document)
      ? { application_type: 'native' }
      : undefined),
    client_id: id,
    grant_types: knownIn(document.grant_types, GRANTS, ['authorization_code']),
    response_types: knownIn(document.response_types, ['code'], ['code']),
    token_endpoint_auth_method: method,
  } as GivenMetadata;
  const checked = checkNewClient({ metadata });
  if (!checked.ok) return refusal(checked.reason);
  const { jwks_uri: jwksUri } = checked.draft.metadata;
  if (jwksUri !== undefined && !jwksUri.startsWith('https:')) return refusal('jwks_uri wants https');
  const { origin } = new URL(id);
  const hasPagesThere = (checked.draft.metadata.redirect_uris ?? []).some((uri) => URL.parse(uri)?.origin === origin);
  return {
    ok: true,
    metadata: checked.draft.metadata,
    scopes: scope === undefined ? undefined : scopesIn(scope),
    origins: hasPagesThere ? [origin] : [],
  };
}

/** What such a client may ask for: OpenID scopes and those of the APIs that are open to it, as far as its document names them. */
export function grantableScopes(named: readonly string[] | undefined, ofOpenApis: readonly string[]): string {
  const all = [...new Set([...OPENID_SCOPES, ...ofOpenApis])];
  const asked = named === undefined ? all : all.filter((scope) => named.includes(scope));
  // Never none: without the member, a client may have every scope there is.
  return (asked.some(isOpenIdScope) ? asked : ['openid', ...asked]).join(' ');
}

function linksOf(document: Record<string, unknown>, host: string): Record<string, string> {
  const links = LINKS.flatMap((member) => {
    const value = document[member];
    const url = typeof value === 'string' ? URL.parse(value) : null;
    return url?.protocol === 'https:' && url.hostname === host ? [[member, url.href] as const] : [];
  });
  return Object.fromEntries(links);
}

/** Of a list, what is offered here; something else than a list is left to the schema to refuse. */
function knownIn(given: unknown, known: readonly string[], otherwise: readonly string[]): unknown {
  if (given === undefined) return [...otherwise];
  return Array.isArray(given) ? given.filter((entry) => known.includes(entry)) : given;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isListOfTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string');
}

function refusal(reason: string): ReadDocument {
  return { ok: false, reason };
}
