import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

/**
 * How this agent signs its person in, as the SDK asks for it (`OAuthClientProvider`). Everything else (discovery, PKCE, the
 * resource, who the client is) is the SDK's. Nothing outlives the process.
 *
 * @param options.clientMetadataUrl where the document is that describes this agent
 * @param options.clientId where an operator of the issuer has registered it; with neither, it registers itself
 * @param options.answers as `listenForAnswers` makes them
 * @param options.show tells the person which address to open
 */
export function createSignIn({ clientMetadataUrl, clientId, answers, show }) {
  const kept = { client: clientId && { client_id: clientId } };
  return {
    clientMetadataUrl,
    redirectUrl: answers.redirectUrl,
    clientMetadata: {
      client_name: 'Notes Agent',
      redirect_uris: [answers.redirectUrl],
      grant_types: ['authorization_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      application_type: 'native',
    },
    state: () => answers.expect(),
    clientInformation: () => kept.client,
    saveClientInformation(client) {
      kept.client = client;
    },
    tokens: () => kept.tokens,
    saveTokens(tokens) {
      kept.tokens = tokens;
    },
    codeVerifier: () => kept.codeVerifier,
    saveCodeVerifier(codeVerifier) {
      kept.codeVerifier = codeVerifier;
    },
    saveDiscoveryState({ authorizationServerMetadata }) {
      kept.issuer = authorizationServerMetadata?.issuer;
    },
    redirectToAuthorization: show,

    /** @returns the code, once the person is back. @throws where they said no, or another issuer answered (RFC 9207) */
    async code() {
      const answer = await answers.next();
      if (answer.get('iss') !== kept.issuer) throw new Error('another issuer has answered');
      const code = answer.get('code');
      if (code === null) throw new Error(answer.get('error') ?? 'an answer without a code');
      return code;
    },
  };
}

/** Listens where browsers come back to, on this machine alone, at whatever port is free (RFC 8252, section 7.3). */
export async function listenForAnswers() {
  let expected;
  const server = createServer((request, response) => {
    // `GET //` is a request, too, and no address.
    const url = URL.canParse(request.url, 'http://127.0.0.1') ? new URL(request.url, 'http://127.0.0.1') : undefined;
    // Other programs of this machine can reach the port: what they make up has no state of ours.
    const isOurs = url?.pathname === '/callback' && expected?.state === url.searchParams.get('state');
    response.writeHead(isOurs ? 200 : 404, { 'content-type': 'text/plain', connection: 'close' });
    response.end(isOurs ? 'You can close this page and go back to the agent.' : '');
    if (isOurs) expected.resolve(url.searchParams);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    redirectUrl: `http://127.0.0.1:${server.address().port}/callback`,
    /** Begins to wait for an answer. @returns the `state` that it has to bear */
    expect() {
      const state = randomBytes(32).toString('base64url');
      let resolve;
      const answer = new Promise((done) => {
        resolve = done;
      });
      expected = { state, answer, resolve };
      return state;
    },
    /** The parameters of the answer that is waited for. */
    next: () => expected.answer,
    close: () => server.close(),
  };
}
