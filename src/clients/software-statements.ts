import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  decodeJwt,
  errors,
  type JSONWebKeySet,
  type JWTPayload,
  jwtVerify,
} from 'jose';
import { CLOCK_TOLERANCE_SECONDS, type Clock } from '../config/index.ts';

/** Somebody whose word on software counts here; keys are given, or fetched from an address. */
export type SoftwareStatementIssuer = Readonly<{ issuer: string } & ({ jwks: JSONWebKeySet } | { jwksUri: string })>;

type StatementRefusal = Readonly<{
  ok: false;
  /** RFC 7591, section 3.2.2. */
  code: 'invalid_software_statement' | 'unapproved_software_statement';
  reason: string;
}>;

/** Statements about software, signed by somebody whom the operator believes (RFC 7591, section 2.3). */
export type SoftwareStatements = Readonly<{
  verify(statement: string): Promise<Readonly<{ ok: true; claims: JWTPayload }> | StatementRefusal>;
}>;

/** What can't be made with a key that others know, too. */
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA', 'Ed25519'];
const MAX_LENGTH = 16_384;

/**
 * @param dependencies.fetch refuses addresses that are not public (src/oidc/outbound-fetch.ts)
 * @param dependencies.audience this server: a statement that names others alone is not for it
 */
export function createSoftwareStatements(dependencies: {
  issuers: readonly SoftwareStatementIssuer[];
  audience: string;
  fetch: (url: string, init: RequestInit) => Promise<Response>;
  clock: Clock;
}): SoftwareStatements {
  const { audience, fetch, clock } = dependencies;
  const keys = new Map(
    dependencies.issuers.map((given) => [
      given.issuer,
      'jwks' in given
        ? createLocalJWKSet(given.jwks)
        : createRemoteJWKSet(new URL(given.jwksUri), { [customFetch]: fetch }),
    ]),
  );

  return Object.freeze<SoftwareStatements>({
    async verify(statement) {
      if (statement.length > MAX_LENGTH) return invalid(`is longer than ${MAX_LENGTH} characters`);
      const issuer = issuerOf(statement);
      if (issuer === undefined) return invalid('is no JWT with an iss');
      const keySet = keys.get(issuer);
      if (keySet === undefined) {
        return { ok: false, code: 'unapproved_software_statement', reason: 'its issuer is not known here' };
      }
      try {
        const { payload } = await jwtVerify(statement, keySet, {
          issuer,
          algorithms: ALGORITHMS,
          clockTolerance: CLOCK_TOLERANCE_SECONDS,
          currentDate: new Date(clock()),
        });
        if (typeof payload.iat === 'number' && payload.iat > clock() / 1_000 + CLOCK_TOLERANCE_SECONDS) {
          return invalid('is from the future');
        }
        if (payload.aud !== undefined && ![payload.aud].flat().includes(audience)) return invalid('is for others');
        return { ok: true, claims: payload };
      } catch (error) {
        if (error instanceof errors.JWTExpired) return invalid('has expired');
        // Whatever it is, of the statement or of its issuer's keys: it is not known to be true.
        return invalid('can not be verified');
      }
    },
  });
}

/** As the statement says, believed by nobody yet. */
function issuerOf(statement: string): string | undefined {
  try {
    return decodeJwt(statement).iss;
  } catch {
    return undefined;
  }
}

function invalid(reason: string): StatementRefusal {
  return { ok: false, code: 'invalid_software_statement', reason: `software_statement ${reason}` };
}
