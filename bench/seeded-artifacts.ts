import { createHash } from 'node:crypto';
import type { ArtifactKind, ArtifactPayload } from '../src/tokens/index.ts';

export type SeededArtifact = { kind: ArtifactKind; id: string; payload: ArtifactPayload; ttlSeconds: number };

/** Longer than any run takes. */
const LIFETIME_SECONDS = 86_400;

/** Who the tokens are issued to. */
export type Owners = Readonly<{ clientIds: readonly string[]; accountIds: readonly string[] }>;

/** The token of this number: as long as the library's, and never stored by the bench, however many there are. */
export function tokenOf(number: number): string {
  return name('token', number);
}

/** Whose token it is: clients and people in turn. */
export function ownerOf(number: number, owners: Owners): { clientId: string; accountId: string } {
  const { clientIds, accountIds } = owners;
  return {
    clientId: clientIds[number % clientIds.length] as string,
    accountId: accountIds[number % accountIds.length] as string,
  };
}

/** An opaque access token of a person, not bound to a session, as oidc-provider 9.13 writes it. */
export function accessToken(number: number, grantNumber: number, owners: Owners): SeededArtifact {
  const id = tokenOf(number);
  const grantId = name('grant', grantNumber);
  return artifact('AccessToken', id, {
    ...ownerOf(grantNumber, owners),
    grantId,
    gty: 'authorization_code',
    scope: 'openid profile offline_access',
    claims: {},
    sessionUid: name('session', grantNumber).slice(0, 21),
  });
}

/** The grant of this number: what its person has allowed its client. */
export function grant(number: number, owners: Owners): SeededArtifact {
  return artifact('Grant', name('grant', number), {
    ...ownerOf(number, owners),
    openid: { scope: 'openid profile offline_access' },
  });
}

/** An opaque token by client credentials, issued at a moment (epoch ms). */
export function clientToken(
  number: number,
  owners: Owners,
  { at, lifetimeSeconds }: { at: number; lifetimeSeconds: number },
): SeededArtifact {
  const { clientId } = ownerOf(number, owners);
  const members = { clientId, aud: 'urn:bench:opaque', scope: 'bench:opaque' };
  return artifact('ClientCredentials', name('client token', number), members, at, lifetimeSeconds);
}

function artifact(
  kind: ArtifactKind,
  id: string,
  members: ArtifactPayload,
  at = Date.now(),
  ttlSeconds = LIFETIME_SECONDS,
): SeededArtifact {
  const iat = Math.floor(at / 1_000);
  return { kind, id, payload: { iat, exp: iat + ttlSeconds, ...members, kind, jti: id }, ttlSeconds };
}

function name(kind: string, number: number): string {
  return createHash('sha256').update(`${kind} ${number}`).digest('base64url');
}
