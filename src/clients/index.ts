/**
 * Owns the registry: clients with their metadata and secrets, what those may be that register themselves, and the APIs (resource servers) with their scopes. Every
 * change is checked, audited and announced in one transaction. Refuses to keep a secret: only its digest is stored, and
 * the secret itself leaves once, in the answer that made it. Knows no grant, no token and no protocol: what the
 * provider thinks of a client's metadata is asked of an injected validator.
 */

export { algorithmsInUse } from './algorithms-in-use-store.ts';
export {
  type Api,
  type ApiPatch,
  type ApiScope,
  MAX_TTL_SECONDS as MAX_API_TTL_SECONDS,
  type NewApi,
} from './api.ts';
export { type Apis, createApis } from './apis.ts';
export { matchesSubject, type SubjectMember } from './certificate-subject.ts';
export { authenticates, type MetadataValidator, type NewClient, type RegisteredClient, usesSecret } from './client.ts';
export { type ClientBlocks, createClientBlocks } from './client-blocks.ts';
export { isDocumentUrl } from './client-document.ts';
export { type ClientMetadata, TOKEN_EXCHANGE } from './client-metadata-schema.ts';
export { isOnDevice } from './client-uris.ts';
export { type ClientLookUp, type Clients, createClients } from './clients.ts';
export { type DescribedDetail, describeDetail } from './describe-details.ts';
export { createDescribedClients, type DescribedClients } from './described-clients.ts';
export type { AuthorizationDetail, DetailsType } from './details-schema.ts';
export { detailFault, detailsTypeOf, MAX_DETAILS, MAX_DETAILS_CHARACTERS } from './details-type.ts';
export { DEFAULT_PROFILE, FAPI_ALGORITHMS, profileFault } from './profiles.ts';
export {
  createRegistrationTokens,
  type RegistrationToken,
  type RegistrationTokens,
} from './registration-tokens.ts';
export type { RegistryAudit } from './registry-audit.ts';
export { isOpenIdScope, OPENID_SCOPES, scopesIn } from './scopes.ts';
export { prepareSelfRegistration, type SelfRegistration, toNewClient, toReplacement } from './self-registration.ts';
export { createSoftwareStatements, type SoftwareStatements } from './software-statements.ts';
