/** One use of a key. */
export type ApiKeyUse = Readonly<{
  /** The API that it is for; left out where none is named. */
  api?: string | undefined;
  /** Of whoever holds the key; `undefined`: not known. IPv4 or IPv6. */
  address: string | undefined;
}>;

/** How a key's quota stands, for the fields `RateLimit-Policy` and `RateLimit`, and for introspection. */
export type QuotaState = Readonly<{
  requests: number;
  windowSeconds: number;
  /** As far as this process knows, which other nodes' use reaches with their next flush. */
  remaining: number;
  /** Whole seconds until the next window, at least 1. */
  resetSeconds: number;
}>;

/**
 * `address_required`: the key has an allow-list and nobody said where its holder is.
 * `quota`: absent where the key has none.
 */
export type ApiKeyVerdict = Readonly<
  | { ok: true; quota?: QuotaState | undefined }
  | {
      ok: false;
      reason: 'quota_exceeded' | 'rate_exceeded';
      /** Whole seconds, at least 1. */
      retryAfterSeconds: number;
      quota?: QuotaState | undefined;
    }
  | { ok: false; reason: 'address_not_allowed' | 'address_required'; quota?: QuotaState | undefined }
>;

/** What one key was used for on one day (UTC). */
export type ApiKeyUsage = Readonly<{
  id: string;
  /** Absent: for none in particular. */
  api?: string | undefined;
  /** As 2026-11-25. */
  day: string;
  requests: number;
}>;
