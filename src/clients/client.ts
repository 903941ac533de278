import type { ClientMetadata, GivenMetadata } from './client-metadata-schema.ts';

/**
 * Who vouches for a client: an operator of this server; nobody but itself, at the registration endpoint (RFC 7591); or the
 * document at the URL that its id is (described-clients.ts), which is in no registry.
 */
type ClientOrigin = 'operator' | 'dynamic' | 'document';

/** A client of the registry. Objects that the registry hands out are frozen: they are shared by all who ask. */
export type RegisteredClient = Readonly<{
  id: string;
  /** In the names of RFC 7591; never a secret. */
  metadata: ClientMetadata;
  /** Identifiers of the APIs that it may call; empty: any, within its scopes. */
  apis: readonly string[];
  /** By the identifier of one of `apis`: the scopes that it may ask for there; an API that is not here: all of its scopes. */
  apiScopes: Readonly<Record<string, readonly string[]>>;
  /** What APIs are told that it is, in tokens of its own (src/roles.ts). Apart from the metadata: a client can't give them to itself. */
  roles: readonly string[];
  /** Whether it may introspect tokens of every API and client. */
  mayIntrospectAny: boolean;
  /** Origins whose pages may call the server for it (CORS). */
  allowedOrigins: readonly string[];
  isDemo: boolean;
  origin: ClientOrigin;
  /** Of one that registered itself: what it was allowed, and whether it was ever used. */
  registration?: Readonly<{ policies: readonly string[]; isUsed: boolean }> | undefined;
  /** Whether a secret is live. */
  hasSecret: boolean;
  createdAt: Date;
  updatedAt: Date;
}>;

export type NewClient = {
  metadata: GivenMetadata;
  apis?: readonly string[] | undefined;
  apiScopes?: Readonly<Record<string, readonly string[]>> | undefined;
  roles?: readonly string[] | undefined;
  mayIntrospectAny?: boolean | undefined;
  allowedOrigins?: readonly string[] | undefined;
  isDemo?: boolean | undefined;
  /** A secret that is brought along, for a client that moves here from elsewhere; left out: one is generated. */
  secret?: string | undefined;
  /** It registers itself, by these policies, unless so many did already. */
  selfRegistered?: Readonly<{ policies: readonly string[]; atMost: number }> | undefined;
};

/** A JSON merge patch (RFC 7396): null takes a member away, what is not named stays. */
type MetadataPatch = { [Member in keyof GivenMetadata]?: GivenMetadata[Member] | null | undefined };

/** What is not named stays; a list that is named replaces the one before. */
export type ClientPatch = {
  metadata?: MetadataPatch | undefined;
  /** Without `apiScopes`, all scopes there. */
  apis?: readonly string[] | undefined;
  apiScopes?: Readonly<Record<string, readonly string[]>> | undefined;
  roles?: readonly string[] | undefined;
  mayIntrospectAny?: boolean | undefined;
  allowedOrigins?: readonly string[] | undefined;
};

/** `reason` is one line for the person who asked; `field` names the member at fault, where it is one. */
export type ClientRefusal = {
  ok: false;
  code: 'conflict' | 'invalid_metadata' | 'not_found' | 'too_many';
  reason: string;
  field?: string | undefined;
};

/** The provider's own check of metadata. Called outside any transaction, because it may fetch. No secret is in them. */
export interface MetadataValidator {
  validate(metadata: ClientMetadata): Promise<{ ok: true } | { ok: false; reason: string }>;
}

/** A client before it is stored. */
export type ClientDraft = Pick<
  RegisteredClient,
  'metadata' | 'apis' | 'apiScopes' | 'roles' | 'mayIntrospectAny' | 'allowedOrigins' | 'isDemo'
>;

/** Whether a client of these metadata proves who it is at all; whoever knows the id of another one may speak for it. */
export function authenticates(metadata: Pick<ClientMetadata, 'token_endpoint_auth_method'>): boolean {
  return metadata.token_endpoint_auth_method !== 'none';
}

/** Whether a client of these metadata authenticates with a secret, in the header or the body (RFC 6749, section 2.3.1). */
export function usesSecret(metadata: Pick<ClientMetadata, 'token_endpoint_auth_method'>): boolean {
  return metadata.token_endpoint_auth_method.startsWith('client_secret_');
}
