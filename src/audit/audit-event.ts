import { isIP } from 'node:net';
import { z } from 'zod';
import { SIGNING_ALGORITHMS } from '../config/index.ts';

/** Longest name that is recorded: our identifiers are far shorter, URNs of APIs are the longest. */
const MAX_IDENTIFIER_LENGTH = 2_048;
/** More scopes than any registered client has; keeps a row small whatever is asked for. */
const MAX_SCOPES = 1_000;

/** Anything PostgreSQL can store as text and as jsonb: no control characters (NUL), no lone surrogates. */
const identifier = z
  .string()
  .max(MAX_IDENTIFIER_LENGTH)
  .regex(/^[^\p{Cc}\p{Cs}]+$/u);
/** RFC 6749, section 3.3: scope-token. */
const scopes = z.array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/)).max(MAX_SCOPES);

/** src/roles.ts: the same characters. */
const roles = scopes;

const accountId = identifier;
const clientId = identifier;
const grantId = identifier;
const tokenKind = z.enum(['access', 'client_credentials', 'refresh']);
const version = z.int().positive();
const rotatingSecret = { name: z.enum(['cookie_key', 'dpop_nonce_secret']), version };
/** Never the key itself: the id, and its owner, which is one of both. */
const apiKey = {
  apiKeyId: z.string().regex(/^tsk_[0-9A-Za-z]{16}$/),
  accountId: accountId.optional(),
  clientId: clientId.optional(),
};
/** By which clients may register themselves; never the token itself. */
const registrationToken = { registrationId: z.string().regex(/^[0-9a-f]{16}$/) };
const signingKey = { kid: identifier, algorithm: z.enum(SIGNING_ALGORITHMS) };

function event<Type extends string, Members extends z.ZodRawShape>(type: Type, members: Members) {
  return z.strictObject({ type: z.literal(type), ...members });
}

/**
 * Every event with just its members. Strict: a member that is not listed is refused. None can hold a token, a password
 * or a code, and none what somebody typed: people type passwords into the field for the name, so a failed sign-in of an
 * unknown account bears no name at all.
 */
export const auditEventSchema = z.discriminatedUnion('type', [
  event('sign_in.succeeded', { accountId, clientId: clientId.optional() }),
  event('sign_in.failed', {
    /** Absent: no such account. */
    accountId: accountId.optional(),
    clientId: clientId.optional(),
    reason: z.enum(['unknown_account', 'wrong_password', 'account_disabled']),
  }),
  event('sign_in.limited', {
    accountId: accountId.optional(),
    clientId: clientId.optional(),
    reason: z.enum(['too_many_for_account', 'too_many_for_address']),
  }),
  event('consent.granted', {
    accountId,
    clientId,
    grantId,
    scopes,
    resources: z.array(identifier).max(MAX_SCOPES),
    /** Of authorization details (RFC 9396), which may say how much is paid to whom and stay out of here. */
    detailsTypes: z.array(identifier).max(MAX_SCOPES).optional(),
  }),
  event('consent.denied', { accountId, clientId }),
  event('device.allowed', {
    accountId,
    clientId,
    grantId,
    /** Where the device asked from; the person, from the event's own address. */
    deviceAddress: z.union([z.ipv4(), z.ipv6()]).optional(),
  }),
  event('device.denied', { accountId: accountId.optional(), clientId }),
  /** Too many codes of devices were tried from the event's address. */
  event('user_code.limited', {}),
  event('token.issued', {
    clientId,
    accountId: accountId.optional(),
    grantId: grantId.optional(),
    kind: tokenKind,
    scopes,
    resource: identifier.optional(),
  }),
  event('token.exchanged', {
    clientId,
    /** The person whom the token is about; absent: a service. */
    accountId: accountId.optional(),
    /** Of the token; the account's or a client's id. */
    subject: identifier,
    /** Whom the token that was exchanged was issued to; an API key's own id, where it was one. */
    subjectClientId: identifier,
    /** Of the token that was exchanged, where that was a person's. */
    grantId: grantId.optional(),
    kind: z.enum(['delegation', 'impersonation']),
    /** Who acts, as the token says. */
    actor: identifier.optional(),
    scopes,
    resource: identifier.optional(),
  }),
  event('token.refreshed', {
    clientId,
    accountId,
    grantId,
    scopes,
    /** The parent was rotated a moment ago, within the leeway: a retry, or a thief who was quick. */
    isRetry: z.literal(true).optional(),
  }),
  event('token.reuse_detected', { clientId, accountId: accountId.optional(), grantId: grantId.optional() }),
  event('code.reuse_detected', { clientId, accountId: accountId.optional(), grantId: grantId.optional() }),
  event('token.revoked', {
    clientId: clientId.optional(),
    accountId: accountId.optional(),
    grantId: grantId.optional(),
    kind: tokenKind,
  }),
  event('grant.revoked', {
    /** Absent: every grant of the account or of the client. */
    grantId: grantId.optional(),
    accountId: accountId.optional(),
    clientId: clientId.optional(),
    reason: z.enum(['reuse', 'token_revoked', 'too_many_revocations', 'logout', 'operator_request']),
  }),
  event('session.ended', {
    accountId: accountId.optional(),
    clientId: clientId.optional(),
    reason: z.enum(['logout', 'operator_request']),
  }),
  event('client.created', { clientId }),
  /** It registered itself (RFC 7591). */
  event('client.registered', { clientId }),
  event('client.updated', { clientId }),
  event('client.deleted', { clientId }),
  event('client.secret_rotated', { clientId }),
  /** The URL of a client that is not registered, or a host with all of them there. */
  event('client.blocked', { clientId }),
  event('client.unblocked', { clientId }),
  event('client.roles_set', { clientId, roles }),
  event('registration_token.created', registrationToken),
  event('registration_token.revoked', registrationToken),
  event('api.created', { resource: identifier }),
  event('api.updated', { resource: identifier }),
  event('api.deleted', { resource: identifier }),
  event('api_key.created', apiKey),
  event('api_key.updated', apiKey),
  event('api_key.rolled', apiKey),
  event('api_key.disabled', apiKey),
  event('api_key.enabled', apiKey),
  event('api_key.revoked', apiKey),
  event('account.created', { accountId }),
  event('account.updated', { accountId }),
  event('account.disabled', { accountId }),
  event('account.enabled', { accountId }),
  event('account.deleted', { accountId }),
  event('account.password_set', { accountId }),
  event('account.roles_set', { accountId, roles }),
  event('secret.announced', rotatingSecret),
  event('secret.rotated', rotatingSecret),
  event('secret.removed', rotatingSecret),
  event('secret.resealed', { name: identifier, version }),
  event('key.created', signingKey),
  event('key.imported', signingKey),
  event('key.activated', signingKey),
  event('key.retired', signingKey),
  event('key.revoked', signingKey),
  event('key.removed', signingKey),
  event('key.resealed', signingKey),
]);

export type AuditEvent = z.infer<typeof auditEventSchema>;
export type AuditEventType = AuditEvent['type'];
export const AUDIT_EVENT_TYPES: readonly AuditEventType[] = auditEventSchema.options.map(
  ({ shape }) => shape.type.value,
);

const actorSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('operator') }),
  z.strictObject({ kind: z.literal('system') }),
  z.strictObject({ kind: z.enum(['account', 'client']), id: identifier }),
]);

/** Who did it, where that is neither plain from the event nor the account that it names. */
export type AuditActor = z.infer<typeof actorSchema>;

/**
 * Where an event came from. The request id and the address come from outside: one that makes no sense is left out, so
 * that nobody can stop an event from being recorded by sending one.
 */
export const auditContextSchema = z.strictObject({
  requestId: z
    .string()
    .regex(/^[\w.:-]{1,128}$/)
    .optional()
    .catch(undefined),
  address: z
    .string()
    .refine((address) => isIP(address) !== 0)
    .optional()
    .catch(undefined),
  actor: actorSchema.optional(),
});

export type AuditContext = {
  requestId?: string | undefined;
  /** IPv4 or IPv6. */
  address?: string | undefined;
  actor?: AuditActor | undefined;
};
