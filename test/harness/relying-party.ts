import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createRemoteJWKSet, type JWTPayload, jwtVerify, type ProtectedHeaderParameters } from 'jose';
import { until } from './until.ts';

/** What is read of a logout token once its signature, issuer, audience, type and times are right. */
type HeardLogout = { header: ProtectedHeaderParameters; claims: JWTPayload; path: string };

/** An app's server that hears of sign-outs and checks what it hears (OpenID Connect Back-Channel Logout 1.0, section 2.6). */
export type RelyingParty = {
  /** For a client to register; each client has a path of its own. */
  logoutUri(clientId: string): string;
  /** Requests that came for a client, whatever was answered. */
  attempts(clientId: string): number;
  /** What a client has heard; waits for the first. */
  heard(clientId: string): Promise<HeardLogout>;
  all(clientId: string): readonly HeardLogout[];
  close(): Promise<void>;
};

/** @param options.answer how it answers an attempt of a client, counted from 1; 200 where left out */
export async function startRelyingParty(options: {
  issuer: () => string;
  answer?: (clientId: string, attempt: number, response: ServerResponse) => void;
}): Promise<RelyingParty> {
  const answer = options.answer ?? ((_clientId, _attempt, response) => response.writeHead(200).end());
  const heard = new Map<string, HeardLogout[]>();
  const attempts = new Map<string, number>();
  const of = (clientId: string) => heard.get(clientId) ?? [];
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    const clientId = path.slice(1);
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', async () => {
      const attempt = (attempts.get(clientId) ?? 0) + 1;
      attempts.set(clientId, attempt);
      const token = new URLSearchParams(Buffer.concat(chunks).toString()).get('logout_token') ?? '';
      try {
        const keys = createRemoteJWKSet(new URL(`${options.issuer()}/jwks`));
        const { payload, protectedHeader } = await jwtVerify(token, keys, {
          issuer: options.issuer(),
          audience: clientId,
          typ: 'logout+jwt',
          maxTokenAge: 120,
          requiredClaims: ['iat', 'exp', 'jti', 'events', 'sub'],
        });
        heard.set(clientId, [...of(clientId), { header: protectedHeader, claims: payload, path }]);
        answer(clientId, attempt, response);
      } catch {
        response.writeHead(400).end();
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    logoutUri: (clientId) => `http://127.0.0.1:${port}/${clientId}`,
    attempts: (clientId) => attempts.get(clientId) ?? 0,
    heard: (clientId) => until(`${clientId} hears of a sign-out`, () => of(clientId)[0]),
    all: of,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
