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
    extra: undefined,
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

function artifact(kind: ArtifactKind, id: string, members: ArtifactPayload): SeededArtifact {
  const iat = Math.floor(Date.now() / 1_000);
  const payload = { iat, exp: iat + LIFETIME_SECONDS, ...members, kind, jti: id };
  return { kind, id, payload, ttlSeconds: LIFETIME_SECONDS };
}

function name(kind: string, number: number): string {
  return createHash('sha256').update(`${kind} ${number}`).digest('base64url');
}
