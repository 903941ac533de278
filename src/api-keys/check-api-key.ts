import { z } from 'zod';
import { isAddressRange } from './address-ranges.ts';
import type { ApiKey, ApiKeyOwner, ApiKeyRefusal, NewApiKey } from './api-key.ts';
import type { ApiKeyOwners, RegisteredScopes } from './owners.ts';

/** What people decide about a key, and may change. */
export type ApiKeySettings = Pick<ApiKey, 'name' | 'expiresAt' | 'allowedAddresses' | 'quota' | 'ratePerSecond'>;
/** What it is for, which never changes. */
export type ApiKeyPurpose = Pick<ApiKey, 'owner' | 'scopes' | 'apis'>;

const MAX_RANGES = 100;
/** A month: a window is counted in memory, and read back by its start alone. */
const MAX_WINDOW_SECONDS = 31 * 24 * 60 * 60;
const MAX_REQUESTS = 1_000_000_000_000;
/** Far above what one process answers. */
const MAX_RATE = 100_000;

const whole = (maximum: number) => {
  const message = `wants a whole number from 1 to ${maximum}`;
  return z.int(message).min(1, message).max(maximum, message);
};

const settingsSchema = z.object({
  name: z
    .string()
    .trim()
    .min(1, 'wants a name')
    .max(200, 'wants at most 200 characters')
    // What turns the direction of what follows could show people another name than its own.
    .regex(/^[^\p{Cc}\p{Cs}\u202a-\u202e\u2066-\u2069]*$/u, 'wants a name without control characters'),
  expiresAt: z.date('wants a time such as 2027-01-31T00:00:00Z').optional(),
  allowedAddresses: z
    .array(z.string())
    .max(MAX_RANGES, `wants at most ${MAX_RANGES} addresses and ranges`)
    .superRefine((ranges, context) => {
      const wrong = ranges.find((range) => !isAddressRange(range));
      if (wrong === undefined) return;
      context.addIssue({ code: 'custom', message: `${wrong} is no address and no CIDR range such as 192.0.2.0/24` });
    }),
  quota: z.object({ requests: whole(MAX_REQUESTS), windowSeconds: whole(MAX_WINDOW_SECONDS) }).optional(),
  ratePerSecond: whole(MAX_RATE).optional(),
});

type Checked<Name extends string, T> = ({ ok: true } & Record<Name, T>) | ApiKeyRefusal;

/**
 * Everything about a key's settings that can be said without asking anybody.
 *
 * @param now epoch milliseconds: an expiry that is set lies behind it
 * @param before the settings that are changed; absent: of a new key
 */
export function checkSettings(
  settings: ApiKeySettings,
  now: number,
  before?: ApiKeySettings,
): Checked<'settings', ApiKeySettings> {
  const parsed = settingsSchema.safeParse(settings);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return invalid(String(issue?.path.join('.') || 'key'), issue?.message ?? 'is not understood');
  }
  const { expiresAt } = parsed.data;
  const isNewExpiry = expiresAt !== undefined && expiresAt.getTime() !== before?.expiresAt?.getTime();
  if (isNewExpiry && expiresAt.getTime() <= now) return invalid('expiresAt', 'wants a time in the future');
  return { ok: true, settings: parsed.data };
}

type Asked = Pick<NewApiKey, 'scopes' | 'apis'>;

/** Holds what a new key is asked for against what its owner has: it never gets more. */
export async function checkPurpose(
  { owner, ...asked }: Pick<NewApiKey, 'owner' | 'scopes' | 'apis'>,
  owners: ApiKeyOwners,
): Promise<Checked<'purpose', ApiKeyPurpose>> {
  return owner.kind === 'account' ? purposeOfAccount(owner, asked, owners) : purposeOfClient(owner, asked, owners);
}

async function purposeOfAccount(
  owner: Extract<ApiKeyOwner, { kind: 'account' }>,
  asked: Asked,
  owners: ApiKeyOwners,
): Promise<Checked<'purpose', ApiKeyPurpose>> {
  const account = await owners.findAccount(owner.accountId);
  if (account === undefined) return notFound(`no account has the id ${owner.accountId}`);
  if (account.isDisabled) return invalid('owner', `account ${owner.accountId} is disabled`);
  const apis = each(asked.apis);
  if (apis.length === 0) return invalid('apis', 'wants the APIs that the key of an account is for');
  return withOwnedScopes({ owner, scopes: each(asked.scopes), apis }, await owners.listApis());
}

async function purposeOfClient(
  owner: Extract<ApiKeyOwner, { kind: 'client' }>,
  asked: Asked,
  owners: ApiKeyOwners,
): Promise<Checked<'purpose', ApiKeyPurpose>> {
  const client = await owners.findClient(owner.clientId);
  if (client === undefined) return notFound(`no client ${owner.clientId} is registered`);
  if (!client.grantTypes.includes('client_credentials')) {
    return invalid('owner', `client ${owner.clientId} may not use client_credentials`);
  }
  const mayCall = (identifier: string) => client.apis.length === 0 || client.apis.includes(identifier);
  const named = each(asked.apis);
  const beyond = named.find((identifier) => !mayCall(identifier));
  if (beyond !== undefined) return invalid('apis', `client ${owner.clientId} is not registered for ${beyond}`);
  const scopes = each(asked.scopes);
  const unowned = scopes.find((scope) => !client.scopes.includes(scope));
  if (unowned !== undefined) return invalid('scopes', `client ${owner.clientId} does not have ${unowned}`);

  const registered = await owners.listApis();
  const owning = registered.filter((api) => api.scopes.some((scope) => scopes.includes(scope)));
  const apis =
    named.length > 0 ? named : owning.map(({ identifier }) => identifier).filter((identifier) => mayCall(identifier));
  const checked = withOwnedScopes({ owner, scopes, apis }, registered);
  if (!checked.ok) return checked;

  const mayAskAt = (api: string, scope: string) => client.apiScopes[api]?.includes(scope) ?? true;
  const ofKey = registered.filter(({ identifier }) => apis.includes(identifier));
  const withheld = scopes.find(
    (scope) => !ofKey.some((api) => api.scopes.includes(scope) && mayAskAt(api.identifier, scope)),
  );
  if (withheld === undefined) return checked;
  return invalid('scopes', `client ${owner.clientId} may not ask for ${withheld} at the APIs that the key is for`);
}

/** What was named, each once. */
function each(names: readonly string[] = []): string[] {
  return [...new Set(names)];
}

function withOwnedScopes(
  purpose: ApiKeyPurpose,
  registered: readonly RegisteredScopes[],
): Checked<'purpose', ApiKeyPurpose> {
  const { scopes, apis } = purpose;
  const unknown = apis.find((api) => !registered.some(({ identifier }) => identifier === api));
  if (unknown !== undefined) return invalid('apis', `no API ${unknown} is registered`);
  const owned = new Set(registered.filter(({ identifier }) => apis.includes(identifier)).flatMap((api) => api.scopes));
  // Those of OpenID Connect belong to no API: a key is for APIs alone.
  const foreign = scopes.find((scope) => !owned.has(scope));
  if (foreign !== undefined) return invalid('scopes', `${foreign} belongs to none of the APIs that the key is for`);
  if (apis.length === 0) return invalid('apis', 'wants the APIs that the key is for, or a scope of one');
  return { ok: true, purpose };
}

export function invalid(field: string, reason: string): ApiKeyRefusal {
  return { ok: false, code: 'invalid', field, reason };
}

export function notFound(reason: string): ApiKeyRefusal {
  return { ok: false, code: 'not_found', reason };
}
