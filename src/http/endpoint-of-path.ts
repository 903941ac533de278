import type { Endpoint } from '../telemetry/index.ts';

/** The fixed paths of the server; the documentation names them, others hold us to them. */
const ENDPOINT_BY_PATH: Readonly<Record<string, Endpoint>> = {
  '/': 'playground',
  '/.well-known/oauth-authorization-server': 'discovery',
  '/.well-known/openid-configuration': 'discovery',
  '/authorize': 'authorization',
  '/backchannel': 'backchannel_authentication',
  '/device': 'code_verification',
  '/device_authorization': 'device_authorization',
  '/introspect': 'introspection',
  '/jwks': 'jwks',
  '/logout': 'end_session',
  '/par': 'pushed_authorization_request',
  '/register': 'registration',
  '/revoke': 'revocation',
  '/token': 'token',
  '/userinfo': 'userinfo',
};

/** Paths below one of these belong to its endpoint. */
const ENDPOINT_BY_FIRST_SEGMENT: Readonly<Record<string, Endpoint>> = {
  account: 'account',
  admin: 'admin',
  assets: 'asset',
  authorize: 'authorization',
  device: 'code_verification',
  health: 'health',
  interaction: 'interaction',
  logout: 'end_session',
  playground: 'playground',
  register: 'registration',
};

/**
 * Which endpoint a path belongs to; undefined where we have nothing. Case and one trailing slash don't matter, as in the
 * routing of the provider and of our own pages.
 */
export function endpointOfPath(path: string): Endpoint | undefined {
  const folded = path.toLowerCase();
  const exact = folded.length > 1 && folded.endsWith('/') ? folded.slice(0, -1) : folded;
  if (Object.hasOwn(ENDPOINT_BY_PATH, exact)) return ENDPOINT_BY_PATH[exact];
  const first = folded.split('/', 2)[1] ?? '';
  return Object.hasOwn(ENDPOINT_BY_FIRST_SEGMENT, first) ? ENDPOINT_BY_FIRST_SEGMENT[first] : undefined;
}

/** Below these, the next segment is a handle: whoever has it may go on with another's interaction. */
const HANDLE_AFTER = new Set(['authorize', 'device', 'interaction']);
const NAME_LENGTH = 20;
const PATH_LENGTH = 200;

/**
 * A path as it may be logged: `/interaction/:uid` for its pattern, and `:value` in place of any segment that looks
 * random rather than a name, because people and faulty clients put tokens into paths.
 */
export function loggablePath(path: string): string {
  const segments = path.slice(0, PATH_LENGTH).split('/');
  return segments
    .map((segment, index) => {
      if (index === 2 && segment !== '' && HANDLE_AFTER.has(segments[1]?.toLowerCase() ?? '')) return ':uid';
      return segment.length > NAME_LENGTH && /[0-9A-Z%]/.test(segment) ? ':value' : segment;
    })
    .join('/');
}
