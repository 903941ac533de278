import { CIBA_GRANT, DEVICE_GRANT } from './check-client.ts';
import { TOKEN_EXCHANGE } from './client-metadata-schema.ts';

/** What a client that registers itself may have by itself: grants in which a person takes part and is asked. */
const GRANTS = ['authorization_code', 'implicit', 'refresh_token', DEVICE_GRANT];

/** What an operator may allow beyond that, by name. */
const GRANTS_BY_POLICY: Readonly<Record<string, string>> = {
  services: 'client_credentials',
  'token-exchange': TOKEN_EXCHANGE,
  ciba: CIBA_GRANT,
};
/** Its logo and links may be on any host. */
const ANY_LINKS = 'any-links';
/** Followed by the identifier of an API: the client may ask for its scopes. */
const API = 'api:';

/** Every name there is, as a person is told of them. */
export const POLICY_NAMES = [...Object.keys(GRANTS_BY_POLICY), ANY_LINKS, `${API}URN`] as const;

/** What a client may register, by what an operator has allowed. */
export type RegistrationPolicy = Readonly<{
  grants: readonly string[];
  /** Identifiers of APIs, beside those that are open to whoever comes. */
  apis: readonly string[];
  allowsAnyLinks: boolean;
}>;

/** Whether there is a policy of that name; of an API, whether it could be one. */
export function isPolicyName(name: string): boolean {
  return (
    Object.hasOwn(GRANTS_BY_POLICY, name) || name === ANY_LINKS || (name.startsWith(API) && name.length > API.length)
  );
}

export function policyOf(names: readonly string[]): RegistrationPolicy {
  return {
    grants: [...GRANTS, ...names.flatMap((name) => GRANTS_BY_POLICY[name] ?? [])],
    apis: names.filter((name) => name.startsWith(API)).map((name) => name.slice(API.length)),
    allowsAnyLinks: names.includes(ANY_LINKS),
  };
}

/** The policy that would allow a grant; undefined: none does. */
export function policyForGrant(grant: string): string | undefined {
  return Object.keys(GRANTS_BY_POLICY).find((name) => GRANTS_BY_POLICY[name] === grant);
}
