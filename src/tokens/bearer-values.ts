import type { ArtifactKind, ArtifactPayload } from './artifact.ts';

/** What must not stand in clear: where it belongs, and its value. An empty path is the whole payload. */
export type SealedMember = [path: string[], value: unknown];

/**
 * Whole members that are bearer values, or hold some, and that the library must have back unasked. A session's `state`
 * may hold an interaction's id (in the URL to return to after a sign-out) and the secret of a form.
 */
const SEALED_MEMBERS: Partial<Record<ArtifactKind, readonly string[]>> = {
  DeviceCode: ['jti', 'userCode'],
  Interaction: ['deviceCode', 'parJti'],
  PushedAuthorizationRequest: ['request'],
  Session: ['state'],
};

/**
 * Request parameters that are tokens or secrets: identity tokens and hints signed by us or by others (OpenID Connect
 * Core 3.1.2.1, CIBA 7.1), request objects and the handle of a pushed one (RFC 9101, RFC 9126), the token under which a
 * client is notified and the person's secret code (CIBA 7.1), and what authenticates a client (RFC 6749 2.3.1, RFC
 * 7521), which only a client that sends it where it doesn't belong would leave here.
 */
const TOKEN_PARAMETERS: readonly string[] = [
  'access_token',
  'client_assertion',
  'client_notification_token',
  'client_secret',
  'id_token_hint',
  'login_hint_token',
  'request',
  'request_uri',
  'user_code',
];

/** Where kinds keep request parameters; the login prompt's details repeat `id_token_hint`. */
const PARAMETER_PLACES: Partial<Record<ArtifactKind, readonly (readonly string[])[]>> = {
  BackchannelAuthenticationRequest: [['params']],
  DeviceCode: [['params']],
  Interaction: [['params'], ['prompt', 'details']],
};

/** Stands for the interaction's id in `returnTo`; braces occur in no URL (RFC 3986, section 2). */
const ID_PLACEHOLDER = '{id}';

/**
 * Takes every bearer value out of a payload. `jti` is the value that will be presented again, so it is dropped (a
 * device code, which is also found by its user code, seals it). `session.cookie` of an interaction is dropped for good:
 * it is the id of a session, and the library reads it nowhere. Should the presented value occur anywhere else, the whole
 * payload is sealed; a grant's id is an identifier and may.
 */
export function splitBearerValues(
  kind: ArtifactKind,
  id: string,
  payload: ArtifactPayload,
): { json: string; sealed: SealedMember[] } {
  const open = { ...withoutSessionCookie(kind, payload) };
  const sealed: SealedMember[] = [];
  if (kind === 'Interaction') hideReturnTo(open, id, sealed);
  for (const member of SEALED_MEMBERS[kind] ?? []) moveMember(open, [], member, sealed);
  for (const place of PARAMETER_PLACES[kind] ?? []) {
    const parameters = copyPlace(open, place);
    if (parameters === undefined) continue;
    for (const member of TOKEN_PARAMETERS) moveMember(parameters, place, member, sealed);
  }
  delete open.jti;
  const json = JSON.stringify(open);
  if (kind === 'Grant' || !json.includes(JSON.stringify(id).slice(1, -1))) return { json, sealed };
  return { json: '{}', sealed: [[[], open], ...sealed] };
}

/** Puts back what was taken out. @param id as presented; undefined where something else was (uid, user code) */
export function joinBearerValues(
  kind: ArtifactKind,
  id: string | undefined,
  open: ArtifactPayload,
  sealed: readonly SealedMember[],
): ArtifactPayload {
  const whole = sealed.find(([path]) => path.length === 0);
  const payload = whole === undefined ? open : (whole[1] as ArtifactPayload);
  if (id !== undefined) payload.jti = id;
  if (id !== undefined && kind === 'Interaction' && typeof payload.returnTo === 'string') {
    payload.returnTo = payload.returnTo.replaceAll(ID_PLACEHOLDER, () => id);
  }
  for (const [path, value] of sealed) {
    const member = path.at(-1);
    if (member !== undefined) placeAt(payload, path.slice(0, -1))[member] = value;
  }
  return payload;
}

/** What is kept of an interaction's payload at all, for any store. */
export function withoutSessionCookie(kind: ArtifactKind, payload: ArtifactPayload): ArtifactPayload {
  if (kind !== 'Interaction' || !isRecord(payload.session) || !('cookie' in payload.session)) return payload;
  const { cookie: _, ...session } = payload.session;
  return { ...payload, session };
}

function hideReturnTo(open: ArtifactPayload, id: string, sealed: SealedMember[]): void {
  if (typeof open.returnTo !== 'string') return;
  if (open.returnTo.includes(ID_PLACEHOLDER)) moveMember(open, [], 'returnTo', sealed);
  else open.returnTo = open.returnTo.replaceAll(id, () => ID_PLACEHOLDER);
}

function moveMember(from: ArtifactPayload, place: readonly string[], member: string, sealed: SealedMember[]): void {
  if (from[member] === undefined || from[member] === null) return;
  sealed.push([[...place, member], from[member]]);
  delete from[member];
}

/** Copies the objects along a path, so that members may be taken out without touching the caller's payload. */
function copyPlace(payload: ArtifactPayload, path: readonly string[]): ArtifactPayload | undefined {
  let place = payload;
  for (const member of path) {
    const value = place[member];
    if (!isRecord(value)) return undefined;
    const copy = { ...value };
    place[member] = copy;
    place = copy;
  }
  return place;
}

function placeAt(payload: ArtifactPayload, path: readonly string[]): ArtifactPayload {
  let place = payload;
  for (const member of path) place = place[member] as ArtifactPayload;
  return place;
}

function isRecord(value: unknown): value is ArtifactPayload {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
