import { randomUUID } from 'node:crypto';
import {
  base64url,
  decodeJwt,
  decodeProtectedHeader,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  importJWK,
  type JWK,
  SignJWT,
} from 'jose';
import type { ProtectedApi } from './protected-api.ts';

/** Far beyond what clocks may differ by. */
const TEN_MINUTES = 600;

const nowSeconds = () => Math.floor(Date.now() / 1_000);
const encoded = (part: object) => base64url.encode(JSON.stringify(part));

/** What a token of the server says, as of a token that was issued this moment. */
export function freshClaims(genuine: string): Record<string, unknown> {
  const now = nowSeconds();
  return { ...decodeJwt(genuine), iat: now, exp: now + TEN_MINUTES, jti: randomUUID() };
}

type MakeToken = (api: ProtectedApi, genuine: string) => string | Promise<string>;

/**
 * JWTs that every resource server refuses (RFC 9068, section 4; RFC 8725), by what is wrong with them; nothing else is. Each is
 * made out of a genuine one, `genuine`, which opens the API by itself.
 */
export const BAD_JWTS: Readonly<Record<string, MakeToken>> = {
  'not signed at all (alg none)': (_api, genuine) => unsigned(genuine, 'none'),
  'not signed, in another spelling (alg nOnE)': (_api, genuine) => unsigned(genuine, 'nOnE'),
  'signed by HS256 with the public key in PEM form': async (api, genuine) => {
    const jwk = await publicKeyOf(api, genuine);
    const pem = await exportSPKI((await importJWK(jwk, 'RS256')) as Parameters<typeof exportSPKI>[0]);
    return signedBySecret(genuine, pem);
  },
  'signed by HS256 with the public key in JWK form': async (api, genuine) =>
    signedBySecret(genuine, JSON.stringify(await publicKeyOf(api, genuine))),
  'signed by HS256 with the modulus of the public key': async (api, genuine) =>
    signedBySecret(genuine, (await publicKeyOf(api, genuine)).n ?? ''),
  'of another issuer, by a key of its own': ({ signAsStranger }, genuine) =>
    signAsStranger({ ...freshClaims(genuine), iss: 'https://issuer.example.com' }),
  'of another issuer, by our key': ({ signAsServer }, genuine) =>
    signAsServer({ ...freshClaims(genuine), iss: 'https://issuer.example.com' }),
  'without an issuer': ({ signAsServer }, genuine) => signAsServer({ ...freshClaims(genuine), iss: undefined }),
  'for another API': (api) => api.serviceToken('jwt', { audience: api.otherAudience }),
  'for nobody': ({ signAsServer }, genuine) => signAsServer({ ...freshClaims(genuine), aud: undefined }),
  expired: ({ signAsServer }, genuine) => {
    const now = nowSeconds();
    return signAsServer({ ...freshClaims(genuine), iat: now - 2 * TEN_MINUTES, exp: now - TEN_MINUTES });
  },
  'without an end': ({ signAsServer }, genuine) => signAsServer({ ...freshClaims(genuine), exp: undefined }),
  'not valid yet': ({ signAsServer }, genuine) => {
    const now = nowSeconds();
    return signAsServer({ ...freshClaims(genuine), nbf: now + TEN_MINUTES, exp: now + 2 * TEN_MINUTES });
  },
  'an ID token': async (api) => (await api.personTokens('jwt')).id_token,
  'an ID token, even one whose audience is the API': ({ signAsServer }, genuine) =>
    signAsServer(freshClaims(genuine), { typ: 'JWT' }),
  'signed by a key that nobody knows': ({ signAsStranger }, genuine) => signAsStranger(freshClaims(genuine)),
  'signed by a stranger in the name of our key': ({ signAsStranger }, genuine) =>
    signAsStranger(freshClaims(genuine), { kid: String(decodeProtectedHeader(genuine).kid) }),
  'signed by a key that it brings along': async (_api, genuine) => signedByOwnKey(genuine),
  'with a changed claim': (_api, genuine) => {
    const [header, , signature] = genuine.split('.');
    return [header, encoded({ ...decodeJwt(genuine), sub: 'somebody-else' }), signature].join('.');
  },
  'with a changed signature': (_api, genuine) => {
    const [header, payload, signature = ''] = genuine.split('.');
    const changed = (signature.startsWith('A') ? 'B' : 'A') + signature.slice(1);
    return [header, payload, changed].join('.');
  },
  'bound to a key, without a proof of it': (api) => api.boundToken('jwt'),
};

function unsigned(genuine: string, alg: string): string {
  return `${encoded({ ...decodeProtectedHeader(genuine), alg })}.${encoded(freshClaims(genuine))}.`;
}

function signedBySecret(genuine: string, secret: string): Promise<string> {
  return new SignJWT(freshClaims(genuine))
    .setProtectedHeader({ ...decodeProtectedHeader(genuine), alg: 'HS256' })
    .sign(Buffer.from(secret));
}

async function signedByOwnKey(genuine: string): Promise<string> {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  const header = { typ: 'at+jwt', alg: 'ES256', jwk: await exportJWK(publicKey) };
  return new SignJWT(freshClaims(genuine)).setProtectedHeader(header).sign(privateKey);
}

async function publicKeyOf({ issuer }: ProtectedApi, genuine: string): Promise<JWK> {
  const { keys } = (await (await fetch(`${issuer}/jwks`)).json()) as { keys: JWK[] };
  const jwk = keys.find(({ kid }) => kid === decodeProtectedHeader(genuine).kid);
  if (jwk === undefined) throw new Error('the key of the token is not published');
  return jwk;
}
