import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { isPlainText } from './plain-text.ts';

/** A JSON schema, draft 2020-12, of an object. */
export type DetailsSchema = Readonly<Record<string, unknown>>;

/** A type of authorization details (RFC 9396) that belongs to one API. */
export type DetailsType = Readonly<{
  /** What clients ask for it by; no two APIs have the same. */
  type: string;
  /** What it is, in a few plain words: "Payment". */
  title: string;
  /** One sentence in plain words, with fields in braces: `Pay {amount} to {creditor.name}`. */
  summary: string;
  schema: DetailsSchema;
}>;

/** An authorization details object (RFC 9396, section 2), as a client sent it. */
export type AuthorizationDetail = Readonly<{ type: string; [member: string]: unknown }>;

/** Schemas are held in memory on every node, compiled. */
const MAX_SCHEMA_CHARACTERS = 32_768;
const MAX_SCHEMA_DEPTH = 32;

const SCHEMAS_BY_NAME = ['properties', 'patternProperties', '$defs', 'dependentSchemas'];
const LISTS_OF_SCHEMAS = ['allOf', 'anyOf', 'oneOf', 'prefixItems'];
const SINGLE_SCHEMAS = [
  ...['items', 'additionalProperties', 'unevaluatedProperties', 'unevaluatedItems', 'propertyNames'],
  ...['contains', 'not', 'if', 'then', 'else'],
];

/**
 * Compiles a schema. What RFC 9396, section 2 gives every details object need not be in it: `type` and `locations` are
 * allowed by themselves.
 *
 * @throws {Error} where it is no schema, refers to another document, or has a keyword or format that nothing would check
 */
export function compileDetailsSchema(schema: DetailsSchema): ValidateFunction {
  const ajv = new Ajv2020({
    strict: true,
    strictTypes: true,
    allowUnionTypes: true,
    strictRequired: false,
    // A name that every object inherits is no member of this one.
    ownProperties: true,
    addUsedSchema: false,
    logger: false,
  });
  return ajv.compile({
    ...schema,
    properties: {
      type: { type: 'string' },
      locations: { type: 'array', items: { type: 'string' } },
      ...(isRecord(schema.properties) ? schema.properties : undefined),
    },
  });
}

/** Why a schema can't be used for details that people are asked to allow; undefined where it can. */
export function detailsSchemaFault(schema: DetailsSchema): string | undefined {
  if (JSON.stringify(schema).length > MAX_SCHEMA_CHARACTERS) {
    return `wants a schema of at most ${MAX_SCHEMA_CHARACTERS} characters`;
  }
  if (schema.type !== 'object') return 'wants a schema of an object: "type": "object"';
  const fault = nestedFault(schema, 0);
  if (fault !== undefined) return fault;
  try {
    compileDetailsSchema(schema);
    return undefined;
  } catch (error) {
    return `has no usable schema: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/**
 * The part of a schema that describes one member, or the entries of a list.
 *
 * @param name undefined: the entries
 */
export function schemaOfMember(root: DetailsSchema, schema: unknown, name: string | undefined): unknown {
  const here = resolve(root, schema);
  if (!isRecord(here)) return undefined;
  if (name === undefined) return resolve(root, here.items);
  const { properties } = here;
  return isRecord(properties) && Object.hasOwn(properties, name) ? resolve(root, properties[name]) : undefined;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A reference within the schema is followed once: what it leads to is described there. */
function resolve(root: DetailsSchema, schema: unknown): unknown {
  if (!isRecord(schema) || typeof schema.$ref !== 'string') return schema;
  const name = /^#\/\$defs\/([^/~%]+)$/.exec(schema.$ref)?.[1];
  return name !== undefined && isRecord(root.$defs) && Object.hasOwn(root.$defs, name) ? root.$defs[name] : undefined;
}

/** Fields that nobody described must be refused (RFC 9396, section 5); and titles are shown to people. */
function nestedFault(schema: unknown, depth: number): string | undefined {
  if (!isRecord(schema)) return undefined;
  if (depth > MAX_SCHEMA_DEPTH) return 'has a schema that is too deep';
  const { title } = schema;
  if (title !== undefined && (typeof title !== 'string' || !isPlainText(title))) {
    return 'wants titles in its schema without control characters';
  }
  if (schema.type === 'object' && schema.additionalProperties !== false && schema.unevaluatedProperties !== false) {
    return 'wants "additionalProperties": false wherever its schema describes an object (RFC 9396, section 5)';
  }
  const nested = [
    ...SCHEMAS_BY_NAME.flatMap((keyword) => (isRecord(schema[keyword]) ? Object.values(schema[keyword]) : [])),
    ...LISTS_OF_SCHEMAS.flatMap((keyword) => (Array.isArray(schema[keyword]) ? schema[keyword] : [])),
    ...SINGLE_SCHEMAS.map((keyword) => schema[keyword]),
  ];
  for (const each of nested) {
    const fault = nestedFault(each, depth + 1);
    if (fault !== undefined) return fault;
  }
  return undefined;
}
