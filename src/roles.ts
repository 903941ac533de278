import { z } from 'zod';

/** RFC 6749, section 3.3: the characters of a scope token, so that a role can stand wherever a scope can. */
const ROLE = /^[\x21\x23-\x5b\x5d-\x7e]{1,64}$/;
/** All of them stand in every token: more would not fit (ACCESS_TOKEN_MAX_BYTES). */
const MAX_ROLES = 50;

/** The roles of an account or a service client, each once (RFC 9068, section 2.2.3.1). */
const rolesSchema = z
  .array(
    z
      .string('wants texts')
      .regex(ROLE, 'wants roles of 1 to 64 printable ASCII characters without spaces, quotation marks and backslashes'),
    'wants a list of roles',
  )
  .transform((roles) => [...new Set(roles)])
  .pipe(z.array(z.string()).max(MAX_ROLES, `wants at most ${MAX_ROLES} roles`));

/** What is wrong with a list of roles, or the list itself with each role once. */
export function checkRoles(given: readonly string[]): { ok: true; roles: string[] } | { ok: false; reason: string } {
  const parsed = rolesSchema.safeParse(given);
  if (parsed.success) return { ok: true, roles: parsed.data };
  return { ok: false, reason: parsed.error.issues[0]?.message ?? 'wants a list of roles' };
}

/** Whether two lists, each role once, say the same: their order says nothing. */
export function areSameRoles(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((role) => other.includes(role));
}
