import type { ValidateFunction } from 'ajv/dist/2020.js';
import { z } from 'zod';
import { summaryFault } from './describe-details.ts';
import {
  type AuthorizationDetail,
  compileDetailsSchema,
  type DetailsSchema,
  type DetailsType,
  detailsSchemaFault,
  isRecord,
} from './details-schema.ts';
import { isPlainText } from './plain-text.ts';

/** Everything that one request may ask for: it is stored with the grant, and travels in tokens. */
export const MAX_DETAILS_CHARACTERS = 8_192;
/** A person can't judge more on one page. */
export const MAX_DETAILS = 20;
/** Nested lists and objects within one details object. */
const MAX_DEPTH = 8;

/** Never a member: what merges such objects elsewhere may change the prototype of every object. */
const REFUSED_NAMES = ['__proto__', 'constructor', 'prototype'];

/** The characters of a scope (RFC 6749, section 3.3): a type stands in errors and in metadata. */
const TYPE = /^[\x21\x23-\x5b\x5d-\x7e]{1,200}$/;

/** @param of what an error names: `title`, say */
const words = (of: string, longest: number) =>
  z
    .string(`wants a ${of} for each type`)
    .trim()
    .min(1, `wants a ${of} for each type`)
    .max(longest, `wants a ${of} of at most ${longest} characters`)
    .refine(isPlainText, `wants a ${of} without control characters`);

const detailsType = z
  .strictObject({
    type: z
      .string('wants a type for each')
      .refine((type) => TYPE.test(type) && !REFUSED_NAMES.includes(type), 'wants types of 1 to 200 ASCII characters'),
    title: words('title', 200),
    summary: words('summary', 500),
    schema: z.custom<DetailsSchema>(isRecord, 'wants a JSON schema for each type'),
  })
  .superRefine(({ type, summary, schema }, context) => {
    const fault = detailsSchemaFault(schema) ?? summaryFault(summary, schema);
    if (fault !== undefined) context.addIssue({ code: 'custom', message: `${type} ${fault}` });
  });

/** The types of an API, as somebody gives them. */
export const detailsTypesSchema = z
  .array(detailsType, 'wants a list of types')
  .max(50, 'wants at most 50 types')
  .superRefine((types, context) => {
    const twice = types.find(({ type }, index) => types.findIndex((other) => other.type === type) !== index);
    if (twice !== undefined) context.addIssue({ code: 'custom', message: `${twice.type} stands there twice` });
  });

/** The type of that name, where the API has it. */
export function detailsTypeOf(
  { detailsTypes }: { detailsTypes: readonly DetailsType[] },
  name: string,
): DetailsType | undefined {
  return detailsTypes.find(({ type }) => type === name);
}

/** Compiling takes milliseconds, and the same types are asked of at every request. */
const compiled = new WeakMap<DetailsSchema, ValidateFunction>();

/**
 * Why a details object can't be granted as it is, undefined where it can: in words that say where the fault is and repeat
 * nothing of what was sent.
 *
 * @param identifier of the API that the type belongs to
 */
export function detailFault(
  { schema }: Pick<DetailsType, 'schema'>,
  identifier: string,
  detail: AuthorizationDetail,
): string | undefined {
  const fault = contentFault(detail, 0);
  if (fault !== undefined) return fault;
  if (JSON.stringify(detail).length > MAX_DETAILS_CHARACTERS) {
    return `has more than ${MAX_DETAILS_CHARACTERS} characters`;
  }
  const { locations } = detail;
  if (Array.isArray(locations) && locations.some((location) => location !== identifier)) {
    return `has other locations than ${identifier}`;
  }
  const validate = compiled.get(schema) ?? compileDetailsSchema(schema);
  compiled.set(schema, validate);
  if (validate(detail)) return undefined;
  const [error] = validate.errors ?? [];
  return `does not follow its schema: ${error?.schemaPath ?? ''} ${error?.message ?? ''}`.trimEnd();
}

/** What is shown to people must be able to stand on a page as what it is. */
function contentFault(value: unknown, depth: number): string | undefined {
  if (typeof value === 'string') return isPlainText(value) ? undefined : 'has control characters';
  if (typeof value !== 'object' || value === null) return undefined;
  if (depth >= MAX_DEPTH) return `is deeper than ${MAX_DEPTH} levels`;
  if (!Array.isArray(value)) {
    const names = Object.keys(value);
    if (names.some((name) => REFUSED_NAMES.includes(name))) return 'has a member that no object may have';
    if (!names.every(isPlainText)) return 'has control characters';
  }
  for (const each of Object.values(value)) {
    const fault = contentFault(each, depth + 1);
    if (fault !== undefined) return fault;
  }
  return undefined;
}
