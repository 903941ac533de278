import type { NewApi, NewClient } from '../clients/index.ts';
import { CALLBACK_PATH, INITIATE_LOGIN_PATH, SIGNED_OUT_PATH } from './playground-paths.ts';

/** Well known on purpose: what is printed here, in the log and in the README works on every fresh start. */
export const demoSignIn = { email: 'demo@example.com', password: 'correct horse battery staple' } as const;

/** The demo clients by what they are for. Their secrets are no secrets: a production server refuses to start with them. */
export const demoClients = {
  /** The playground's own: signs people in, and refreshes. */
  web: { id: 'demo-web', secret: 'demo-web-secret-known-to-everybody' },
  /** A service: client credentials, and introspection of the demo APIs. */
  service: { id: 'demo-service', secret: 'demo-service-secret-known-to-everybody' },
  /** A public client on a developer's machine. */
  native: { id: 'demo-native' },
} as const;

const DEMO_USERNAME = 'demo';

/** Every claim of OpenID Connect Core 1.0, section 5.1, has something to show. */
export const demoAccount = {
  ...demoSignIn,
  username: DEMO_USERNAME,
  isEmailVerified: true,
  isDemo: true,
  profile: {
    name: 'Dana Quinn Morgan',
    givenName: 'Dana',
    middleName: 'Quinn',
    familyName: 'Morgan',
    nickname: 'Dana',
    profile: 'https://dana.example.com/about',
    picture: 'https://dana.example.com/portrait.jpg',
    website: 'https://dana.example.com/',
    gender: 'female',
    birthdate: '1990-05-17',
    zoneinfo: 'Europe/London',
    locale: 'en-GB',
    // Kept free for fiction by the regulator (Ofcom).
    phoneNumber: '+44 20 7946 0018',
    isPhoneNumberVerified: true,
    address: {
      formatted: '12 Mosaic Lane\nLondon\nEC1A 1AA\nUnited Kingdom',
      streetAddress: '12 Mosaic Lane',
      locality: 'London',
      postalCode: 'EC1A 1AA',
      country: 'United Kingdom',
    },
  },
} as const;

/** One API of each token format. */
export const demoApis = [
  {
    identifier: 'urn:demo:notes',
    name: 'Demo Notes',
    tokenFormat: 'jwt',
    signingAlgorithm: 'ES256',
    scopes: [
      { scope: 'notes:read', description: 'Read your notes' },
      { scope: 'notes:write', description: 'Write, change and delete your notes' },
    ],
    isDemo: true,
  },
  {
    identifier: 'urn:demo:files',
    name: 'Demo Files',
    tokenFormat: 'opaque',
    scopes: [
      { scope: 'files:read', description: 'Open your files' },
      { scope: 'files:write', description: 'Upload, change and delete your files' },
    ],
    isDemo: true,
  },
] as const satisfies readonly NewApi[];

const apiScopes = demoApis.flatMap(({ scopes }) => scopes.map(({ scope }) => scope));
const identifiers = demoApis.map(({ identifier }) => identifier);
const scopeOfPeople = ['openid profile email address phone offline_access', ...apiScopes].join(' ');

/** @param issuer where the playground is, and so where its client is sent back to */
export function demoClientsAt(issuer: string): readonly NewClient[] {
  return [
    {
      metadata: {
        client_id: demoClients.web.id,
        client_name: 'Tessera Playground',
        client_uri: issuer,
        // It has to be https; where the playground is not, it may still be called.
        ...(issuer.startsWith('https:') && { initiate_login_uri: `${issuer}${INITIATE_LOGIN_PATH}` }),
        redirect_uris: [`${issuer}${CALLBACK_PATH}`],
        post_logout_redirect_uris: [`${issuer}${SIGNED_OUT_PATH}`],
        grant_types: ['authorization_code', 'refresh_token'],
        token_endpoint_auth_method: 'client_secret_basic',
        scope: scopeOfPeople,
      },
      secret: demoClients.web.secret,
      apis: identifiers,
      isDemo: true,
    },
    {
      metadata: {
        client_id: demoClients.service.id,
        client_name: 'Demo Service',
        grant_types: ['client_credentials'],
        token_endpoint_auth_method: 'client_secret_basic',
        scope: apiScopes.join(' '),
      },
      secret: demoClients.service.secret,
      apis: identifiers,
      isDemo: true,
    },
    {
      metadata: {
        client_id: demoClients.native.id,
        client_name: 'Demo Native App',
        application_type: 'native',
        // Any port of these (RFC 8252, section 7.3).
        redirect_uris: ['http://127.0.0.1/callback', 'http://[::1]/callback'],
        grant_types: ['authorization_code', 'refresh_token'],
        token_endpoint_auth_method: 'none',
        scope: scopeOfPeople,
      },
      apis: identifiers,
      isDemo: true,
    },
  ];
}
