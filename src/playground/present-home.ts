import type { ServerMetadata } from 'openid-client';
import type { RegisteredClient } from '../clients/index.ts';
import { demoClients } from './demo-data.ts';
import type { PlaygroundPage } from './playground-pages.ts';

const purposes: Readonly<Record<string, string>> = {
  [demoClients.web.id]: 'This playground. Signs people in on a server that can keep a secret.',
  [demoClients.service.id]: 'A service: gets tokens for itself, and introspects the tokens of the demo APIs.',
  [demoClients.native.id]:
    'A public client, with PKCE and no secret, for your terminal or desktop app: any port of this machine will do.',
};

const secrets: Readonly<Record<string, string | undefined>> = {
  [demoClients.web.id]: demoClients.web.secret,
  [demoClients.service.id]: demoClients.service.secret,
};

/** What each endpoint is for, by its name in the discovery document (RFC 8414, section 2). */
const endpoints: readonly { member: keyof ServerMetadata; name: string; purpose: string; isPage?: boolean }[] = [
  {
    member: 'authorization_endpoint',
    name: 'Authorization',
    purpose: 'The browser goes here to sign in and to consent.',
  },
  {
    member: 'token_endpoint',
    name: 'Token',
    purpose: 'Trades a code, a refresh token or client credentials for tokens.',
  },
  { member: 'userinfo_endpoint', name: 'Userinfo', purpose: 'Tells a client who the person is.' },
  { member: 'introspection_endpoint', name: 'Introspection', purpose: 'Tells an API whether a token is alive.' },
  { member: 'revocation_endpoint', name: 'Revocation', purpose: 'Ends a token.' },
  { member: 'jwks_uri', name: 'Key set', purpose: 'The public keys that verify JWTs.', isPage: true },
  { member: 'end_session_endpoint', name: 'Logout', purpose: 'The browser goes here to sign out.' },
];

/** The endpoints of the discovery document, and the document itself. */
export function presentEndpoints(issuer: string, metadata: ServerMetadata): PlaygroundPage['endpoints'] {
  const listed = endpoints.flatMap(({ member, name, purpose, isPage = false }) => {
    const url = metadata[member];
    return typeof url === 'string' ? [{ name, url, purpose, isPage }] : [];
  });
  const discovery = {
    name: 'Discovery',
    url: `${issuer}/.well-known/openid-configuration`,
    purpose: 'All of this for programs: a client library needs no other address.',
    isPage: true,
  };
  return [discovery, ...listed];
}

/** A demo client with everything that a developer needs to use it from elsewhere. */
export function presentClient({ id, metadata }: RegisteredClient): PlaygroundPage['clients'][number] {
  return {
    name: metadata.client_name ?? id,
    clientId: id,
    clientSecret: secrets[id],
    purpose: purposes[id] ?? '',
    grants: metadata.grant_types.join(', '),
    authentication: metadata.token_endpoint_auth_method,
    redirectUris: metadata.redirect_uris ?? [],
  };
}
