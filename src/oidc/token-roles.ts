import type { AccessToken, ClientCredentials, JWTStructured, KoaContextWithOIDC } from 'oidc-provider';
import type { Accounts } from '../accounts/index.ts';
import type { Clients } from '../clients/index.ts';
import { failClosed } from './faults.ts';
import { LINKS_CLAIM } from './token-exchange-links.ts';

/** Where roles are looked up, always as they are at this moment. */
export type RoleSources = Readonly<{ accounts: Pick<Accounts, 'find'>; clients: Pick<Clients, 'find'> }>;

/** Whose token it is: a person's, or where there is none, a client's own (RFC 6749, section 4.4). */
export type RoleSubject = {
  accountId?: string | undefined;
  clientId?: string | undefined;
  /** Whether the token came of an exchange. */
  isExchanged: boolean;
};

/**
 * The roles of whom a token speaks for (RFC 9068, section 2.2.3.1): of a person, else of the client itself. A token in
 * another's name, by exchange or by an API key, has none: it carries scopes alone, and roles would go beyond these.
 */
export async function rolesOf(subject: RoleSubject, sources: RoleSources): Promise<readonly string[]> {
  const { accountId, clientId, isExchanged } = subject;
  if (isExchanged) return [];
  return failClosed(async () => {
    const owner =
      accountId !== undefined ? await sources.accounts.find(accountId) : await sources.clients.find(clientId ?? '');
    return owner?.roles ?? [];
  });
}

/** Puts roles into a JWT as they are now; none: no claim. */
export async function addRoles(
  token: AccessToken | ClientCredentials,
  { payload }: JWTStructured,
  sources: RoleSources,
): Promise<void> {
  const accountId = 'accountId' in token ? token.accountId : undefined;
  const isExchanged = payload[LINKS_CLAIM] !== undefined;
  const roles = await rolesOf({ accountId, clientId: token.clientId, isExchanged }, sources);
  if (roles.length > 0) payload.roles = [...roles];
}

/**
 * Adds roles to what introspection says of an opaque access token: they are not stored with it, so that they are as they
 * are now.
 */
export function introspectRoles(sources: RoleSources) {
  return async (context: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void> => {
    await next();
    if (context.oidc?.route !== 'introspection') return;
    const { AccessToken: ofPerson, ClientCredentials: ofClient } = context.oidc.entities;
    const token = ofPerson ?? ofClient;
    const body = context.body as { active?: unknown } | undefined;
    if (token === undefined || body?.active !== true) return;
    const accountId = ofPerson?.accountId;
    const isExchanged = token.extra?.[LINKS_CLAIM] !== undefined;
    const roles = await rolesOf({ accountId, clientId: token.clientId, isExchanged }, sources);
    if (roles.length > 0) Object.assign(body, { roles: [...roles] });
  };
}
