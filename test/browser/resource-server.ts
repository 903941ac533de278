import { createRemoteJWKSet, jwtVerify } from 'jose';
import * as openid from 'openid-client';
import type { Api } from '../../src/clients/index.ts';
import type { TestClient } from '../harness/factories.ts';
import { type HttpServer, startHttpServer } from './http-server.ts';

export type ResourceServer = {
  /** Calls it as the app does. */
  call(token: string): Promise<{ status: number; body: Record<string, unknown> }>;
  close(): Promise<void>;
};

/**
 * An API of somebody else. It introspects every token with a client of its own, and first verifies it by the issuer's
 * keys where its tokens are JWTs.
 */
export async function startResourceServer(
  issuer: string,
  { identifier, tokenFormat }: Pick<Api, 'identifier' | 'tokenFormat'>,
  client: TestClient,
): Promise<ResourceServer> {
  const config = await openid.discovery(new URL(issuer), client.id, client.secret, undefined, {
    execute: [openid.allowInsecureRequests],
  });
  const keys = createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri ?? ''));
  const server: HttpServer = await startHttpServer(async (_url, request) => {
    const token = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1];
    if (token === undefined) return refused;
    if (tokenFormat === 'jwt') {
      const isGenuine = await jwtVerify(token, keys, { issuer, audience: identifier, typ: 'at+jwt' }).then(
        () => true,
        () => false,
      );
      if (!isGenuine) return refused;
    }
    const { active, aud, sub, scope } = await openid.tokenIntrospection(config, token);
    if (!active || aud !== identifier) return refused;
    return { body: { sub, scope } };
  });
  return {
    async call(token) {
      const response = await fetch(server.origin, { headers: { authorization: `Bearer ${token}` } });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    },
    close: () => server.close(),
  };
}

const refused = {
  status: 401,
  headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
  body: { error: 'invalid_token' },
};
