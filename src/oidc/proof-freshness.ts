import { decodeJwt } from 'jose';
import type { KoaContextWithOIDC } from 'oidc-provider';
import type { Clock } from '../config/index.ts';
import { outcomeOf } from '../telemetry/index.ts';

/** FAPI 2.0 Security Profile has servers take seconds of difference; nobody's clock is minutes off by accident. In seconds. */
const MOST_SECONDS_OFF = 300;
/** No proof, whatever else is asked of one. */
const NO_PROOF = 'stale';

/**
 * Refuses DPoP proofs that were made more than five minutes from now (RFC 9449, section 11.1). The library looks at `iat` only
 * where a proof has no nonce; it is left to refuse, as it would any other text in the proof's place.
 */
export function refuseStaleProofs(clock: Clock) {
  return async (context: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void> => {
    const iat = issuedAt(context.get('DPoP'));
    if (iat !== undefined && Math.abs(clock() / 1_000 - iat) > MOST_SECONDS_OFF) {
      context.req.headers.dpop = NO_PROOF;
      outcomeOf(context.req).reason = 'the iat of the DPoP proof is more than five minutes off';
    }
    await next();
  };
}

/** @returns epoch seconds; undefined where there is no proof, or none that says: the library refuses those by itself */
function issuedAt(proof: string): number | undefined {
  if (proof === '') return undefined;
  try {
    const { iat } = decodeJwt(proof);
    return typeof iat === 'number' ? iat : undefined;
  } catch {
    return undefined;
  }
}
