import { OPENID_SCOPE_CLAIMS } from './claims.ts';
import { GRANT_ID_CLAIM, REVISION_CLAIM } from './jwt-access-token.ts';
import { LINKS_CLAIM } from './token-exchange-links.ts';

/** Of all that is added to one token, as JSON: with it a token still goes through proxies (ACCESS_TOKEN_MAX_BYTES). */
const MAX_CLAIMS_BYTES = 2_048;
/** Names of claims in use, such as `tenant` or `https://example.com/tenant`. */
const CLAIM_NAME = /^[A-Za-z][\w./:-]{0,127}$/;
/** RFC 6749, section 5.2: `error_description`. */
const DESCRIPTION = /^[\x20-\x21\x23-\x5b\x5d-\x7e]{1,200}$/;

/**
 * What a token is, whom it is about, what it is good for and how it ends is said by this server alone, and so is who a person
 * is and how they signed in.
 */
const PROTECTED: ReadonlySet<string> = new Set([
  ...['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'client_id', 'azp', 'scope', 'authorization_details'],
  ...['cnf', 'act', 'may_act', 'roles', 'groups', 'entitlements', 'username', 'active', 'token_type', 'status'],
  ...['nonce', 'at_hash', 'c_hash', 's_hash', 'sid', 'sub_id', 'sub_jwk', 'events', 'txn', 'jkt', 'apis', 'api_key'],
  ...[GRANT_ID_CLAIM, REVISION_CLAIM, LINKS_CLAIM],
  ...Object.values(OPENID_SCOPE_CLAIMS).flat(),
]);

type Decision =
  | { kind: 'claims'; claims: Record<string, unknown> }
  | { kind: 'refusal'; reason: string }
  | { kind: 'fault'; error: Error };

/** Reads what a hook answered. Whatever it is not said to answer is a fault: a typing error must not look like "nothing to add". */
export function readDecision(answer: unknown): Decision {
  if (answer === undefined || answer === null) return { kind: 'claims', claims: {} };
  if (!isRecord(answer)) return fault('it answered with something else than an object');
  const [member, ...others] = Object.keys(answer);
  if (member === undefined) return { kind: 'claims', claims: {} };
  if (others.length > 0) return fault('it answered with several members');
  if (member === 'refuse') return readRefusal(answer.refuse);
  return member === 'claims' ? readClaims(answer.claims) : fault('it answered with neither claims nor refuse');
}

function readRefusal(reason: unknown): Decision {
  if (typeof reason !== 'string' || !DESCRIPTION.test(reason)) {
    return fault('refuse wants a text of at most 200 printable ASCII characters, without quotes and backslashes');
  }
  return { kind: 'refusal', reason };
}

function readClaims(given: unknown): Decision {
  if (!isRecord(given)) return fault('claims wants an object');
  let text: string;
  try {
    text = JSON.stringify(given);
  } catch {
    return fault('claims wants what JSON can hold');
  }
  if (Buffer.byteLength(text) > MAX_CLAIMS_BYTES) return fault(`claims want at most ${MAX_CLAIMS_BYTES} bytes as JSON`);
  for (const name of Object.keys(given)) {
    if (!CLAIM_NAME.test(name)) return fault('a claim has a name that is none');
    if (PROTECTED.has(name)) return fault(`the claim ${name} is this server's own`);
  }
  return { kind: 'claims', claims: JSON.parse(text) as Record<string, unknown> };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function fault(message: string): Decision {
  return { kind: 'fault', error: new Error(message) };
}
