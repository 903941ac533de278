import { z } from 'zod';
import { type ApiScope, OPENID_SCOPES } from '../clients/index.ts';
import { AppError } from '../errors.ts';
import { locales } from '../http/index.ts';

type CallableApi = Readonly<{ identifier: string; scopes: readonly ApiScope[] }>;

const list = z
  .union([z.string().transform((value) => [value]), z.array(z.string())], 'wants scopes')
  .optional()
  .transform((value) => value ?? []);
const choice = <const Values extends readonly string[]>(values: Values) => z.enum(['', ...values]).default('');

const PROMPTS = ['login', 'consent', 'none'] as const;
const MAX_AGES = ['0', '60', '3600'] as const;

/** What the forms of the playground send; check boxes repeat their name. */
const formSchema = z.object({
  _csrf: z.string().optional(),
  scope: list,
  api: z.string().default(''),
  prompt: choice(PROMPTS),
  max_age: choice(MAX_AGES),
  ui_locales: choice(locales),
});

export type PlaygroundForm = z.infer<typeof formSchema>;

/** @throws {AppError} `invalid_request` where the form is not one of ours */
export function readPlaygroundForm(body: unknown): PlaygroundForm {
  const parsed = formSchema.safeParse(body);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const field = String(issue?.path[0] ?? 'form');
  throw new AppError({
    code: 'invalid_request',
    message: `The field ${field} is not understood.`,
    cause: parsed.error,
  });
}

/** The parameters of an authorization request that a person chose; PKCE, state and nonce are added by the client. */
export function authorizationParameters(form: PlaygroundForm, apis: readonly CallableApi[]): Record<string, string> {
  const api = chosenApi(form, apis);
  const scopes = chosenScopes(form, [...OPENID_SCOPES, ...scopesOf(api)]);
  return withoutEmpty({
    scope: scopes.join(' '),
    resource: api?.identifier ?? '',
    prompt: promptFor(form.prompt, scopes),
    max_age: form.max_age,
    ui_locales: form.ui_locales,
  });
}

/** The parameters of a client-credentials request (RFC 6749, section 4.4.2; RFC 8707). */
export function clientCredentialsParameters(
  form: PlaygroundForm,
  apis: readonly CallableApi[],
): Record<string, string> {
  const api = chosenApi(form, apis);
  return withoutEmpty({ scope: chosenScopes(form, scopesOf(api)).join(' '), resource: api?.identifier ?? '' });
}

/** `offline_access` is for those who consent to it now (OpenID Connect Core 1.0, section 11); `none` can't be combined. */
function promptFor(chosen: string, scopes: readonly string[]): string {
  if (!scopes.includes('offline_access') || chosen === 'none' || chosen === 'consent') return chosen;
  return `${chosen} consent`.trim();
}

function chosenApi(form: PlaygroundForm, apis: readonly CallableApi[]): CallableApi | undefined {
  if (form.api === '') return undefined;
  const api = apis.find(({ identifier }) => identifier === form.api);
  if (api === undefined) throw new AppError({ code: 'invalid_request', message: 'There is no such API any more.' });
  return api;
}

/** In the order in which they are offered. Those of an API that was not chosen stay behind. */
function chosenScopes(form: PlaygroundForm, offered: readonly string[]): string[] {
  return offered.filter((scope) => form.scope.includes(scope));
}

function scopesOf(api: CallableApi | undefined): string[] {
  return api?.scopes.map(({ scope }) => scope) ?? [];
}

function withoutEmpty(parameters: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(parameters).filter(([, value]) => value !== ''));
}
