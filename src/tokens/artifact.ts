/** The names that oidc-provider gives to its models; client registrations are not artifacts and live in `clients/`. */
export type ArtifactKind =
  | 'Session'
  | 'AccessToken'
  | 'AuthorizationCode'
  | 'RefreshToken'
  | 'ClientCredentials'
  | 'Grant'
  | 'Interaction'
  | 'DeviceCode'
  | 'BackchannelAuthenticationRequest'
  | 'PushedAuthorizationRequest'
  | 'RegistrationAccessToken'
  | 'InitialAccessToken'
  | 'ReplayDetection';

/** What the library hands over to be kept; its own format, of which only the members named in this folder are known. */
export type ArtifactPayload = Record<string, unknown>;

export type ConsumeOutcome = 'consumed' | 'already_consumed' | 'not_found';

/** A refresh token and the one that shall take its place, both as they are presented. */
export type RefreshRotation = {
  parent: string;
  child: string;
  /** Of the child. */
  payload: ArtifactPayload;
  ttlSeconds: number | undefined;
  /** How long a use of the parent counts as a retry of its rotation; 0: not at all. */
  leewaySeconds: number;
};

/**
 * `rotated`: into the child given. `retried`: it had been within the leeway, `successor` is what it was rotated into.
 * `reused`: it had been used before, and no retry explains it. `not_found`: it is gone, revoked for example.
 */
export type RotationOutcome =
  | { outcome: 'rotated' | 'reused' | 'not_found' }
  | { outcome: 'retried'; successor: string };

/** Whose artifacts to revoke. */
export type RevocationFilter = { accountId: string } | { clientId: string } | { grantId: string };

/**
 * Keeps and finds artifacts. `id` is always the value as it was presented (token, code, cookie); `ttlSeconds` counts
 * from now, `undefined` never expires. Every promise rejects with the database's own error while it is away, and
 * resolves only when what was asked is durable. `test/contracts/artifact-store-contract.ts` says the rules.
 */
export type ArtifactStore = Readonly<{
  /**
   * The payload as the library wrote it, with `jti` put back and, where it was consumed, `consumed` (epoch seconds).
   * What has expired is returned as well while it is retained (artifact-retention.ts): the library looks at `exp`
   * itself. A consumed code or refresh token is returned with an `exp` that lies ahead even then, because the library
   * checks expiry before it checks reuse and would otherwise refuse the replay without ending the grant (RFC 9700,
   * section 4.14.2).
   */
  find(kind: ArtifactKind, id: string): Promise<ArtifactPayload | undefined>;

  /**
   * A session by its `uid`, which is an identifier and stands in clear. The payload has no `jti`, because the cookie's
   * value is kept nowhere. The library can do without: it reads `accountId` and `authorizations` of what it finds so
   * (`checkSessionBinding`, `interactionDetails`), makes up a fresh `jti` for the instance and never saves it. Nobody
   * else may call `save`, `persist` or `destroy` on such an instance: they would act on the made-up id. To end a
   * person's sessions, use `revokeAll`.
   */
  findByUid(uid: string): Promise<ArtifactPayload | undefined>;

  /**
   * Whether what has this key (`artifactKey`) is stored, neither destroyed nor past the time for which it is found. It says
   * nothing of whether it was consumed. What refers to a token so keeps no value that anyone could present.
   */
  hasKey(key: string): Promise<boolean>;

  /**
   * A view for one request that verifies a token, as introspection and userinfo do: it finds what `find` and `findByUid`
   * find, and the token's grant and session come in the token's round trip. What it finds was true less than a second ago,
   * and for what was ended on any process within milliseconds. So whoever hands out, consumes or changes something must not
   * look through it.
   */
  openTokenReader(): Pick<ArtifactStore, 'find' | 'findByUid' | 'hasKey'>;

  /** A device code by the user code (as normalised by the library); the device code itself is put back into `jti`. */
  findByUserCode(userCode: string): Promise<ArtifactPayload | undefined>;

  /**
   * Inserts or replaces. Nothing is written over a destroyed session or grant: a request in flight can't bring back
   * what was signed out or revoked. That is not an error, for the library expects success and its answer is harmless:
   * tokens of a dead grant are refused wherever they are used (see `revokeByGrantId`). `consumed` is never taken back.
   */
  upsert(kind: ArtifactKind, id: string, payload: ArtifactPayload, ttlSeconds: number | undefined): Promise<void>;

  /** One atomic compare-and-set: of any number of concurrent calls, on any node, exactly one gets `consumed`. */
  consume(kind: ArtifactKind, id: string): Promise<ConsumeOutcome>;

  /**
   * Consumes a refresh token and keeps its child, in one step: of any number of concurrent calls, on any node, exactly
   * one gets `rotated`, and no other child is kept. There is no moment in which one of the two is done: who dies before
   * it has used nothing up, and who dies after it has left what a retry gets.
   */
  rotateRefreshToken(rotation: RefreshRotation): Promise<RotationOutcome>;

  /**
   * A refresh token that was rotated within the leeway, as it was before: without `consumed`, with its own `exp`. The
   * leeway goes by the clock of the store and not by that of a node.
   */
  findRotatedRefreshToken(id: string, leewaySeconds: number): Promise<ArtifactPayload | undefined>;

  /**
   * Notes the use of a one-time value: true, the first to do so; false, it was noted before and has not expired (by
   * more than the clock tolerance). It serves `find` in the library's `ReplayDetection.unique()`, which looks up and
   * then saves: the look-up already takes the place, and the save that follows (`upsert`, by the winner alone) sets the
   * real expiry. `provisionalTtlSeconds` bridges the moment between the two: it must exceed the longest that a request
   * can stall there, or a replay could slip in before the save; a winner that dies in between leaves the value used.
   */
  insertOnce(kind: 'ReplayDetection', id: string, provisionalTtlSeconds: number): Promise<boolean>;

  /**
   * Sessions and grants leave a tombstone, anything else is deleted; an unknown id is no error.
   *
   * The library gives a session a new id by destroying the old one and saving the same `uid` under the new one. So a
   * request that began before a sign-out could carry the session over to a new id after it (one that is slow to send
   * its body has all the time it needs). Therefore an id that is destroyed a second time, by a request that still
   * thought it alive, ends the `uid` itself, under whatever id it lives. Two requests that renew one session in the
   * same milliseconds meet the same rule: the person signs in again.
   */
  destroy(kind: ArtifactKind, id: string): Promise<void>;

  /**
   * Deletes what was issued under a grant, one kind at a time, as the library asks for it. A token that is being
   * inserted meanwhile may survive as a row, but not as a token once its grant is destroyed: the library looks the grant
   * up at introspection (`actions/introspection.js`), userinfo (`shared/access_token.js`) and every exchange
   * (`validateGrant` in `helpers/grant_source.js`) and refuses when it is absent. It does not destroy the grant where
   * `revokeGrantPolicy` says no; its default says no for an access token at the revocation endpoint.
   */
  revokeByGrantId(kind: ArtifactKind, grantId: string): Promise<void>;

  /**
   * Ends at once what was issued to or under one account, client or grant: grants, opaque tokens, codes, refresh tokens;
   * by account also sessions; by account or client also interactions, in which a sign-in may wait to be followed.
   * Registration access tokens stay: without them the client couldn't manage itself.
   *
   * @returns how many artifacts died
   */
  revokeAll(filter: RevocationFilter): Promise<number>;

  /** Waits for what is in flight. */
  close(): Promise<void>;
}>;

/**
 * Authenticated encryption under a key that the database does not have. `context` is bound to the result: to unseal
 * with another one throws.
 */
export interface Sealer {
  seal(plaintext: string, context: string): string;
  unseal(sealed: string, context: string): string;
}
