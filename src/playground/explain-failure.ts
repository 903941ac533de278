import type { PlaygroundFailure } from './playground-pages.ts';

type Words = Readonly<{ title: string; meaning: string; advice: string }>;

const words: Readonly<Record<string, Words>> = {
  access_denied: {
    title: 'Access was denied',
    meaning: 'The person chose not to allow access, or left the sign-in. An app has to live with that answer.',
    advice: 'Start again and allow access to see the tokens.',
  },
  login_required: {
    title: 'Nobody is signed in',
    meaning: 'The request said prompt=none, so no page may be shown, and there is no session that it could use.',
    advice: 'Start again without prompt=none, sign in, and then try prompt=none once more.',
  },
  consent_required: {
    title: 'Consent is missing',
    meaning: 'The request said prompt=none, and it asks for something that the person has not allowed yet.',
    advice: 'Start again without prompt=none, or ask for less.',
  },
  interaction_required: {
    title: 'A page would have to be shown',
    meaning: 'The request said prompt=none, but the person would have to do something first.',
    advice: 'Start again without prompt=none.',
  },
  invalid_request: {
    title: 'The request is malformed',
    meaning: 'A parameter is missing, is there twice, or contradicts another one.',
    advice: 'The description says which one.',
  },
  invalid_scope: {
    title: 'A scope is refused',
    meaning: 'The client asked for a scope that does not exist, or that it is not registered for.',
    advice: 'Ask for scopes that the API owns and that the client is registered for.',
  },
  invalid_target: {
    title: 'The API is not known or not allowed',
    meaning: 'The resource parameter names no API that this client may call, or leaves open which one is meant.',
    advice: 'Name one registered API as resource (RFC 8707).',
  },
  invalid_grant: {
    title: 'The code or token is spent',
    meaning: 'It was used before, has expired or was revoked, or it belongs to another client or redirect URI.',
    advice: 'Start again: a code lives for a minute and can be redeemed once.',
  },
  invalid_client: {
    title: 'The client could not prove who it is',
    meaning: 'The client is not registered, or its secret is not the one that the playground knows.',
    advice: 'Delete the demo client and restart the server: it is made anew, with its well-known secret.',
  },
  unauthorized_client: {
    title: 'The client may not do that',
    meaning: 'The client is registered, but not for this grant.',
    advice: 'Register the grant for it.',
  },
  invalid_token: {
    title: 'The token is not accepted',
    meaning: 'It has expired, was revoked, or is for somebody else.',
    advice: 'Get a new one.',
  },
  insufficient_scope: {
    title: 'The token does not allow that',
    meaning: 'It is alive, but lacks a scope.',
    advice: 'Ask for the scope at the start of the flow.',
  },
  unsupported_token_type: {
    title: 'This kind of token is refused here',
    meaning: 'The endpoint does not handle a token of this format.',
    advice: 'Send a token that this server has issued as an access or refresh token.',
  },
  state_mismatch: {
    title: 'This answer is not for this browser',
    meaning:
      'The state in the answer belongs to no flow that this browser has open. That is how a client refuses an answer that somebody else slipped in (RFC 9700, section 4.7).',
    advice: 'Start a new flow. An answer counts once, in the browser that asked, within half an hour.',
  },
  invalid_response: {
    title: 'The answer did not pass the client’s checks',
    meaning: 'The client checks the issuer, state, nonce, signature and times of every answer, and one of them is off.',
    advice: 'The description says which. Compare the clocks, and that ISSUER is the address in your browser.',
  },
  unreachable: {
    title: 'The playground can’t reach the server',
    meaning: 'The playground calls this server by its issuer, as any client would, and got no connection.',
    advice: 'Check that ISSUER is an address that works from this machine, too.',
  },
  server_error: {
    title: 'The server failed',
    meaning: 'Something went wrong on the server’s side.',
    advice: 'The server’s log says more.',
  },
  temporarily_unavailable: {
    title: 'The server can’t answer right now',
    meaning: 'It has no connection to its database, or too much to do.',
    advice: 'Wait a moment and try again.',
  },
};

const unknown: Words = {
  title: 'The flow ended with an error',
  meaning: 'The server answered with an error that the playground has no words for.',
  advice: 'The description and the server’s log say more.',
};

/** An error of the protocol, or one of the playground's own, in words for a developer. */
export function explainFailure(failure: { code: string; description?: string | undefined }): PlaygroundFailure {
  const known = Object.hasOwn(words, failure.code) ? words[failure.code] : undefined;
  return { ...(known ?? unknown), code: failure.code, description: failure.description };
}
