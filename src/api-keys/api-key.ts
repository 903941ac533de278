/** A key belongs to a person, or to a client that may use client credentials. */
export type ApiKeyOwner = Readonly<{ kind: 'account'; accountId: string } | { kind: 'client'; clientId: string }>;

/** So many requests in each window of `windowSeconds`. Windows are aligned to the epoch, so that all nodes have the same. */
type ApiKeyQuota = Readonly<{ requests: number; windowSeconds: number }>;

/** A key without its secret. Objects that are handed out are frozen: they are shared by all who ask. */
export type ApiKey = Readonly<{
  /** 16 base62 characters, without the prefix `tsk_`. */
  id: string;
  name: string;
  owner: ApiKeyOwner;
  /** As asked for at creation; what they are worth now, `effectiveScopes` says. */
  scopes: readonly string[];
  /** Identifiers of the APIs that it may call: at least one. What they are worth now, `effectiveApis` says. */
  apis: readonly string[];
  expiresAt?: Date | undefined;
  /** Addresses and CIDR ranges that it may be used from; empty: any. */
  allowedAddresses: readonly string[];
  quota?: ApiKeyQuota | undefined;
  /** Requests per second and process; as many may come at once. */
  ratePerSecond?: number | undefined;
  isDisabled: boolean;
  revokedAt?: Date | undefined;
  createdAt: Date;
  updatedAt: Date;
  /** Up to a flush interval behind, and in what `find` answers up to a minute. */
  lastUsedAt?: Date | undefined;
  /** The address that it was last used from, where it was known. */
  lastUsedFrom?: string | undefined;
}>;

export type NewApiKey = {
  name: string;
  owner: ApiKeyOwner;
  scopes: readonly string[];
  /** None named: those of the client's that own one of the scopes. An account has to name them. */
  apis?: readonly string[] | undefined;
  expiresAt?: Date | undefined;
  allowedAddresses?: readonly string[] | undefined;
  quota?: ApiKeyQuota | undefined;
  ratePerSecond?: number | undefined;
};

/** What is not named stays, `null` takes away, a list that is named replaces the one before. Scopes and APIs never change. */
export type ApiKeyPatch = {
  name?: string | undefined;
  expiresAt?: Date | null | undefined;
  allowedAddresses?: readonly string[] | undefined;
  quota?: ApiKeyQuota | null | undefined;
  ratePerSecond?: number | null | undefined;
};

/** `field` names the member at fault, where it is one; `reason` is one line for the person who asked, without that name. */
export type ApiKeyRefusal = {
  ok: false;
  code: 'invalid' | 'not_found' | 'revoked';
  reason: string;
  field?: string | undefined;
};

/** Whether the key itself is good at this moment, its owner aside. @param now epoch milliseconds */
export function isLive(apiKey: ApiKey, now: number): boolean {
  return apiKey.revokedAt === undefined && !apiKey.isDisabled && (apiKey.expiresAt?.getTime() ?? now + 1) > now;
}

/**
 * What a key may ask for at this moment: its owner may have shrunk since.
 *
 * @param ownersScopes of a client: those that it is registered for; of an account: those of all registered APIs
 */
export function effectiveScopes(apiKey: Pick<ApiKey, 'scopes'>, ownersScopes: readonly string[]): readonly string[] {
  return apiKey.scopes.filter((scope) => ownersScopes.includes(scope));
}

/**
 * The APIs that a key may call at this moment. None are left: then it may call nothing, and must not be taken for a client
 * without a list.
 *
 * @param ownersApis those that a client is registered for; empty: any, as for a client and an account alike
 */
export function effectiveApis(apiKey: Pick<ApiKey, 'apis'>, ownersApis: readonly string[]): readonly string[] {
  return ownersApis.length === 0 ? apiKey.apis : apiKey.apis.filter((api) => ownersApis.includes(api));
}
