import { randomBytes } from 'node:crypto';
import type { ArtifactKind, ArtifactPayload } from '../../src/tokens/index.ts';

export type RealisticArtifact = {
  kind: ArtifactKind;
  id: string;
  payload: ArtifactPayload;
  /** What a store gives back for it. */
  readBack: ArtifactPayload;
  /** What must not be found in any column. */
  bearerValues: string[];
};

const random = () => randomBytes(32).toString('base64url');
const signed = () => `eyJhbGciOiJFUzI1NiJ9.${random()}.${random()}`;

/** One artifact of each kind, with fresh values, as oidc-provider 9.13 writes them. */
export function realisticArtifacts(): RealisticArtifact[] {
  const iat = 1_767_268_800;
  const times = { iat, exp: iat + 3_600 };
  const [clientId, accountId, grantId, sid] = [`client-${random()}`, `account-${random()}`, random(), random()];
  const sessionUid = random();
  const issued = { clientId, accountId, grantId, sid, sessionUid, expiresWithSession: true };
  const claims = { id_token: { auth_time: { essential: true } }, userinfo: { name: null, 'ключ ☂': { value: '雨' } } };
  const authentication = { acr: '1', amr: ['pwd', 'otp'], authTime: iat - 5, claims, nonce: 'n-0S6_WzA2Mj' };
  const token = { gty: 'authorization_code', scope: 'openid profile', claims, extra: { tenant: 'blue' } };

  function make(
    kind: ArtifactKind,
    members: ArtifactPayload,
    bearerValues: string[] = [],
    id = random(),
  ): RealisticArtifact {
    const payload = { ...times, ...members, kind, jti: id };
    return { kind, id, payload, readBack: payload, bearerValues: [id, ...bearerValues] };
  }

  function makeSession(): RealisticArtifact {
    const [id, secret, interactionUid] = [random(), random(), random()];
    const state = { secret, clientId, postLogoutRedirectUri: `https://as.example/authorize/${interactionUid}` };
    const authorizations = { [clientId]: { sid, grantId, persistsLogout: true } };
    const members = { uid: random(), accountId, loginTs: iat, amr: ['pwd'], acr: '1', authorizations, state };
    return make('Session', members, [secret, interactionUid], id);
  }

  function makeInteraction(): RealisticArtifact {
    const id = random();
    const secrets = { deviceCode: random(), parJti: random(), cookie: random(), hint: signed(), request: signed() };
    const payload = {
      ...times,
      kind: 'Interaction',
      jti: id,
      returnTo: `https://as.example/authorize/${id}`,
      prompt: { name: 'login', reasons: ['max_age'], details: { max_age: '60', id_token_hint: secrets.hint } },
      params: {
        client_id: clientId,
        scope: 'openid',
        id_token_hint: secrets.hint,
        request: secrets.request,
        state: 'x',
      },
      trusted: ['claims'],
      lastSubmission: { login: { accountId } },
      result: { consent: { grantId } },
      grantId,
      cid: random(),
      deviceCode: secrets.deviceCode,
      parJti: secrets.parJti,
    };
    const session = { accountId, uid: sessionUid, acr: '1', amr: ['pwd'] };
    return {
      kind: 'Interaction',
      id,
      payload: { ...payload, session: { ...session, cookie: secrets.cookie } },
      readBack: { ...payload, session },
      bearerValues: [id, ...Object.values(secrets)],
    };
  }

  function makeBackchannelRequest(): RealisticArtifact {
    const secrets = [signed(), random(), signed(), random()];
    const [login_hint_token, client_notification_token, id_token_hint, user_code] = secrets;
    const params = { client_id: clientId, scope: 'openid', binding_message: 'W4SCT' };
    return make(
      'BackchannelAuthenticationRequest',
      { ...issued, params: { ...params, login_hint_token, client_notification_token, id_token_hint, user_code } },
      secrets,
    );
  }

  const [userCode, deviceHint, pushed] = [random(), signed(), signed()];
  const deviceMembers = {
    clientId,
    params: { client_id: clientId, scope: 'openid', id_token_hint: deviceHint },
    deviceInfo: { ip: '192.0.2.7', ua: 'TV' },
    userCode,
  };
  return [
    makeSession(),
    make('AccessToken', { ...issued, ...token, aud: 'urn:api:photos', jkt: random(), rar: [{ type: 'x' }] }),
    make('AuthorizationCode', {
      ...issued,
      ...authentication,
      scope: 'openid',
      redirectUri: 'https://app.example/cb?a=1',
      codeChallenge: random(),
      codeChallengeMethod: 'S256',
      resource: ['urn:api:photos', 'urn:api:mail'],
    }),
    make('RefreshToken', { ...issued, ...authentication, ...token, rotations: 3, iiat: iat }),
    make('ClientCredentials', { clientId, scope: 'read', aud: 'urn:api:photos', extra: {} }),
    make('Grant', { accountId, clientId, openid: { scope: 'openid' }, resources: { 'urn:api:photos': 'read' } }),
    makeInteraction(),
    make('DeviceCode', deviceMembers, [userCode, deviceHint]),
    makeBackchannelRequest(),
    make('PushedAuthorizationRequest', { request: pushed, trusted: ['claims'], dpopJkt: random() }, [pushed]),
    make('RegistrationAccessToken', { clientId, policies: ['default'] }),
    make('InitialAccessToken', { policies: ['default'] }),
    make('ReplayDetection', { iss: clientId }),
  ];
}
