import { z } from 'zod';
import { type Config, SIGNING_ALGORITHMS } from '../config/index.ts';
import type { DetailsType } from './details-schema.ts';
import { detailsTypesSchema } from './details-type.ts';
import { isPlainText } from './plain-text.ts';
import { isOpenIdScope, isScopeToken } from './scopes.ts';

/** In plain words, `description` tells a person what the scope allows: it stands on the consent page. */
export type ApiScope = Readonly<{ scope: string; description: string }>;

/** An API (resource server). Objects that the registry hands out are frozen: they are shared by all who ask. */
export type Api = Readonly<{
  /** The resource indicator and audience of its tokens: an absolute URI without fragment (RFC 8707, section 2). */
  identifier: string;
  name: string;
  scopes: readonly ApiScope[];
  tokenFormat: 'jwt' | 'opaque';
  /** Of its JWTs; kept, and without effect, where tokens are opaque. */
  signingAlgorithm: Config['keyPolicy']['algorithms'][number];
  /** Lifetime of its access tokens in seconds. */
  ttlSeconds: number;
  /** Clients that may introspect its tokens. */
  introspectionClientIds: readonly string[];
  /** Whether clients that nobody registered (client ID metadata documents) may ask for its tokens. */
  isOpenToUnregistered: boolean;
  /** What may be asked for in more detail than by scopes (RFC 9396). */
  detailsTypes: readonly DetailsType[];
  isDemo: boolean;
  createdAt: Date;
  updatedAt: Date;
}>;

export type NewApi = {
  identifier: string;
  /** Left out: the identifier. */
  name?: string | undefined;
  /** A scope without a description is described by its own name. */
  scopes: readonly (string | { scope: string; description?: string | undefined })[];
  tokenFormat: Api['tokenFormat'];
  signingAlgorithm?: Api['signingAlgorithm'] | undefined;
  ttlSeconds?: number | undefined;
  introspectionClientIds?: readonly string[] | undefined;
  isOpenToUnregistered?: boolean | undefined;
  detailsTypes?: readonly DetailsType[] | undefined;
  isDemo?: boolean | undefined;
};

/** What is not named stays; a list that is named replaces the one before, descriptions of scopes that stay aside. */
export type ApiPatch = Partial<Omit<NewApi, 'identifier' | 'isDemo'>>;

/** `reason` is one line for the person who asked; `field` names the member at fault, where it is one. */
export type ApiRefusal = {
  ok: false;
  code: 'conflict' | 'invalid_metadata' | 'not_found' | 'in_use';
  reason: string;
  field?: string | undefined;
};

/** An API before it is stored. */
export type ApiDraft = Omit<Api, 'createdAt' | 'updatedAt'>;

/** Ten minutes: a JWT that is checked against /jwks alone lives to its end, revoked or not. */
const DEFAULT_TTL_SECONDS = 600;
/** A day: the identifier of a revoked JWT is remembered by every node for as long as it would have lived. */
export const MAX_TTL_SECONDS = 86_400;

/** RFC 3986, section 4.3: `absolute-URI`, which has no fragment, in the characters of section 2. */
const ABSOLUTE_URI = /^[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9\-._~:/?[\]@!$&'()*+,;=%]+$/;

const MAX_IDENTIFIER_LENGTH = 512;

/** The syntax of an API's identifier; what does not have it is never looked up. */
export function isApiIdentifier(value: string): boolean {
  return value.length <= MAX_IDENTIFIER_LENGTH && ABSOLUTE_URI.test(value) && URL.canParse(value);
}

const scope = z
  .object({
    scope: z.string(),
    description: z
      .string()
      .trim()
      .max(500, 'wants descriptions of at most 500 characters')
      .refine(isPlainText, 'wants descriptions without control characters'),
  })
  .superRefine(({ scope: name }, context) => {
    if (!isScopeToken(name)) {
      context.addIssue({ code: 'custom', message: `${name} is not a scope (RFC 6749, section 3.3)` });
    } else if (isOpenIdScope(name)) {
      context.addIssue({ code: 'custom', message: `${name} belongs to OpenID Connect, not to an API` });
    }
  });

const apiSchema = z.object({
  identifier: z
    .string()
    .refine(
      isApiIdentifier,
      'wants an absolute URI without fragment, such as urn:example:api or https://api.example.com, of at most 512 characters (RFC 8707, section 2)',
    ),
  name: z
    .string()
    .trim()
    .min(1, 'wants a name')
    .max(200, 'wants at most 200 characters')
    .refine(isPlainText, 'wants a name without control characters'),
  scopes: z
    .array(scope)
    .max(1_000, 'wants at most 1000 scopes')
    .superRefine((scopes, context) => {
      const twice = scopes.find(
        ({ scope: name }, index) => scopes.findIndex((other) => other.scope === name) !== index,
      );
      if (twice !== undefined) context.addIssue({ code: 'custom', message: `${twice.scope} stands there twice` });
    }),
  tokenFormat: z.enum(['jwt', 'opaque'], 'wants jwt or opaque'),
  signingAlgorithm: z.enum(SIGNING_ALGORITHMS, `wants one of ${SIGNING_ALGORITHMS.join(', ')}`),
  ttlSeconds: z
    .int(`wants whole seconds from 1 to ${MAX_TTL_SECONDS}`)
    .min(1, `wants whole seconds from 1 to ${MAX_TTL_SECONDS}`)
    .max(MAX_TTL_SECONDS, `wants whole seconds from 1 to ${MAX_TTL_SECONDS}`),
  introspectionClientIds: z.array(z.string()).transform((ids) => [...new Set(ids)]),
  isOpenToUnregistered: z.boolean(),
  detailsTypes: detailsTypesSchema,
  isDemo: z.boolean(),
});

export type CheckedApi = { ok: true; draft: ApiDraft } | ApiRefusal;

/** Everything about a new API that can be said without asking anybody. */
export function checkNewApi(input: NewApi): CheckedApi {
  return checkApi({
    identifier: input.identifier,
    name: input.name ?? input.identifier,
    scopes: describe(input.scopes),
    tokenFormat: input.tokenFormat,
    signingAlgorithm: input.signingAlgorithm ?? 'RS256',
    ttlSeconds: input.ttlSeconds ?? DEFAULT_TTL_SECONDS,
    introspectionClientIds: input.introspectionClientIds ?? [],
    isOpenToUnregistered: input.isOpenToUnregistered ?? false,
    detailsTypes: input.detailsTypes ?? [],
    isDemo: input.isDemo ?? false,
  });
}

/** The same for an API that is changed. */
export function checkChangedApi(current: Api, patch: ApiPatch): CheckedApi {
  const { createdAt, updatedAt, ...draft } = current;
  return checkApi({
    ...draft,
    name: patch.name ?? draft.name,
    scopes: patch.scopes === undefined ? draft.scopes : describe(patch.scopes, draft.scopes),
    tokenFormat: patch.tokenFormat ?? draft.tokenFormat,
    signingAlgorithm: patch.signingAlgorithm ?? draft.signingAlgorithm,
    ttlSeconds: patch.ttlSeconds ?? draft.ttlSeconds,
    introspectionClientIds: patch.introspectionClientIds ?? draft.introspectionClientIds,
    isOpenToUnregistered: patch.isOpenToUnregistered ?? draft.isOpenToUnregistered,
    detailsTypes: patch.detailsTypes ?? draft.detailsTypes,
  });
}

export function invalidApi(field: string, reason: string): ApiRefusal {
  return { ok: false, code: 'invalid_metadata', field, reason: `${field}: ${reason}` };
}

function checkApi(draft: ApiDraft): CheckedApi {
  const parsed = apiSchema.safeParse(draft);
  if (parsed.success) return { ok: true, draft: parsed.data };
  const [issue] = parsed.error.issues;
  return invalidApi(String(issue?.path[0] ?? 'api'), issue?.message ?? 'is not understood');
}

function describe(given: NewApi['scopes'], known: readonly ApiScope[] = []): ApiScope[] {
  return given.map((entry) => {
    const { scope: name, description = undefined } = typeof entry === 'string' ? { scope: entry } : entry;
    const before = known.find((candidate) => candidate.scope === name)?.description;
    return { scope: name, description: description || before || name };
  });
}
