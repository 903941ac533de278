import { randomBytes } from 'node:crypto';
import { exportJWK, generateKeyPair, type JWK } from 'jose';
import type { NewClient } from '../../../src/clients/index.ts';
import type { Domains } from '../../../src/compose/index.ts';
import type { SuiteSettings } from './suite-settings.ts';

/** A client as the suite's configuration wants it: with its secret, or with its private keys. */
type SuiteClient = { client_id: string; client_secret?: string; jwks?: { keys: JWK[] } };

/** Secrets and keys for this run alone. */
export type SuiteClients = Readonly<{
  basic: { client: SuiteClient; client2: SuiteClient; client_secret_post: SuiteClient };
  fapi2: { client: SuiteClient; client2: SuiteClient };
  person: { login: string; password: string };
}>;

/** Registers what the plans need: two clients for basic, one for `client_secret_post`, two for FAPI 2.0, and a person. */
export async function registerSuite(
  domains: Pick<Domains, 'clients' | 'accounts'>,
  settings: SuiteSettings,
): Promise<SuiteClients> {
  const { redirectUris, secondRedirectUris, postLogoutRedirectUris } = settings;
  const common = {
    scope: 'openid profile email address phone offline_access',
    post_logout_redirect_uris: postLogoutRedirectUris,
  };
  const basic = {
    ...common,
    profile: 'oidc-basic' as const,
    grant_types: ['authorization_code', 'implicit', 'refresh_token'],
    response_types: ['code', 'id_token', 'id_token token', 'code id_token', 'code token', 'code id_token token'],
  };
  const fapi = async (id: string, uris: string[]) => {
    const { privateKey, publicKey } = await generateKeyPair('PS256', { extractable: true });
    const described = { kid: `${id}-key`, alg: 'PS256', use: 'sig' };
    const publicJwk = { ...(await exportJWK(publicKey)), ...described } as JWK & { kty: string };
    const { client_id } = await create(domains, {
      ...common,
      client_id: id,
      redirect_uris: uris,
      profile: 'fapi2-security',
      grant_types: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [publicJwk] },
    });
    return { client_id, jwks: { keys: [{ ...(await exportJWK(privateKey)), ...described }] } };
  };
  return {
    basic: {
      client: await create(domains, { ...basic, client_id: 'basic-1', redirect_uris: redirectUris }),
      client2: await create(domains, {
        ...basic,
        client_id: 'basic-2',
        redirect_uris: [...redirectUris, ...secondRedirectUris],
      }),
      client_secret_post: await create(domains, {
        ...basic,
        client_id: 'basic-post',
        redirect_uris: redirectUris,
        token_endpoint_auth_method: 'client_secret_post',
      }),
    },
    fapi2: { client: await fapi('fapi2-1', redirectUris), client2: await fapi('fapi2-2', secondRedirectUris) },
    person: await createPerson(domains),
  };
}

async function create({ clients }: Pick<Domains, 'clients'>, metadata: NewClient['metadata']): Promise<SuiteClient> {
  const created = await clients.create({ metadata });
  if (!created.ok) throw new Error(created.reason);
  return { client_id: created.client.id, ...(created.secret !== undefined && { client_secret: created.secret }) };
}

/** With every claim that a plan asks for. */
async function createPerson({ accounts }: Pick<Domains, 'accounts'>) {
  const [login, password] = ['certification@example.com', randomBytes(12).toString('base64url')];
  const created = await accounts.create({
    email: login,
    password,
    isEmailVerified: true,
    profile: {
      name: 'Ada Lovelace',
      givenName: 'Ada',
      familyName: 'Lovelace',
      middleName: 'King',
      nickname: 'ada',
      preferredUsername: 'ada',
      profile: 'https://example.com/ada',
      picture: 'https://example.com/ada.png',
      website: 'https://example.com/',
      gender: 'female',
      birthdate: '1815-12-10',
      zoneinfo: 'Europe/London',
      locale: 'en-GB',
      phoneNumber: '+44 20 7946 0000',
      isPhoneNumberVerified: true,
      address: {
        formatted: '12 St James’s Square, London',
        streetAddress: '12 St James’s Square',
        locality: 'London',
        country: 'GB',
      },
    },
  });
  if (!created.ok) throw new Error(created.reason);
  return { login, password };
}
