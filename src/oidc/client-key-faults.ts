import { types } from 'node:util';
import { errors, type KoaContextWithOIDC, type Provider } from 'oidc-provider';
import { outcomeOf } from '../telemetry/index.ts';

/** Of causes of causes: an error may be its own. */
const MAX_CAUSES = 4;

/**
 * Notes for the log why keys at a client's `jwks_uri` could not be had. The answer says no more than that the client did not
 * authenticate, and whoever runs the server has to find out whether its own network is the cause.
 */
export function noteClientKeyFaults(provider: Provider): void {
  const note = (context: KoaContextWithOIDC, error: Error) => {
    const reason = reasonFor(error);
    if (reason !== undefined) outcomeOf(context.req).reason = reason;
  };
  provider.on('grant.error', note);
  provider.on('introspection.error', note);
  provider.on('revocation.error', note);
  provider.on('device_authorization.error', note);
}

function reasonFor(error: Error): string | undefined {
  let current: unknown = error;
  for (let depth = 0; depth < MAX_CAUSES && types.isNativeError(current); depth += 1) {
    const { cause }: Error = current;
    // The one thing about a client's metadata that is found out only when the client is there.
    if (current instanceof errors.InvalidClientMetadata && types.isNativeError(cause)) {
      // What the parser says would repeat what somebody else's server answered.
      return `keys of the client: ${cause.name === 'SyntaxError' ? 'the answer is no JSON' : cause.message}`;
    }
    current = cause;
  }
  return undefined;
}
