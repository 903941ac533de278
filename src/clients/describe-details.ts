import {
  type AuthorizationDetail,
  type DetailsSchema,
  type DetailsType,
  isRecord,
  schemaOfMember,
} from './details-schema.ts';

/** What a field says: a text of its own, or something that a page has a word for in the person's language. */
type DetailValue = string | boolean | null;

/** A details object as a person is asked to allow it: nothing of it is left out. */
export type DescribedDetail = {
  title: string;
  /** The sentence, taken apart so that what the client filled in can be told from the words around it; empty: none. */
  summary: readonly { text: string; isValue: boolean }[];
  /** Everything that the sentence doesn't say; of what is empty the value is null. */
  fields: readonly { label: string; value: DetailValue }[];
};

/** `{name}` or `{name.name}`; anything else in braces is a mistake. */
const PLACEHOLDER = /\{([^{}]*)\}/;
/** Between the names of an object and of its member. */
const WITHIN = ' › ';
/** Who it is for and what it is are said by the title of the section. */
const SAID_ELSEWHERE = ['type', 'locations'];

/** Why a summary can't be filled in from what its schema describes; undefined where it can. */
export function summaryFault(summary: string, schema: DetailsSchema): string | undefined {
  for (const [index, part] of summary.split(PLACEHOLDER).entries()) {
    if (index % 2 === 0) {
      if (/[{}]/.test(part)) return 'has a summary with a brace that belongs to no field';
      continue;
    }
    const member = schemaAt(schema, part.split('.'));
    if (!isRecord(member)) return `has a summary with {${part}}, which its schema does not describe`;
  }
  return undefined;
}

/**
 * Puts a details object into words. Where the sentence lacks a field that this object hasn't got, there is none: half of it
 * could say something else.
 */
export function describeDetail(type: DetailsType, detail: AuthorizationDetail): DescribedDetail {
  const parts = type.summary.split(PLACEHOLDER);
  const paths = parts.filter((_, index) => index % 2 === 1);
  const values = new Map(paths.map((path) => [path, oneLine(valueAt(detail, path.split('.')))]));
  const isWhole = [...values.values()].every((value) => value !== undefined);
  const summary = isWhole
    ? parts
        .map((part, index) =>
          index % 2 === 0 ? { text: part, isValue: false } : { text: values.get(part) ?? '', isValue: true },
        )
        .filter(({ text }) => text !== '')
    : [];
  const said = new Set(isWhole ? paths : []);
  const fields = Object.entries(detail)
    .filter(([name]) => !SAID_ELSEWHERE.includes(name))
    .flatMap(([name, value]) => fieldsOf(type.schema, type.schema, { path: [name], labels: [] }, value, said));
  return { title: type.title, summary, fields };
}

type Place = {
  /** Names from the top; undefined where a list's entry has none, so that no summary means it. */
  path: readonly (string | undefined)[];
  /** Of what it is in. */
  labels: readonly string[];
};

function fieldsOf(
  root: DetailsSchema,
  parent: unknown,
  { path, labels }: Place,
  value: unknown,
  said: ReadonlySet<string>,
): { label: string; value: DetailValue }[] {
  const name = path.at(-1);
  const schema = schemaOfMember(root, parent, name);
  const here = name === undefined ? labels : [...labels, titleOf(schema, name)];
  if (path.every((step) => step !== undefined && !step.includes('.')) && said.has(path.join('.'))) return [];
  const label = here.join(WITHIN);
  if (Array.isArray(value)) {
    if (value.length === 0) return [{ label, value: null }];
    if (!value.some((each) => typeof each === 'object' && each !== null))
      return value.map((each) => ({ label, value: leaf(each) }));
    return value.flatMap((each, index) =>
      fieldsOf(root, schema, { path: [...path, undefined], labels: numbered(here, index) }, each, said),
    );
  }
  if (!isRecord(value)) return [{ label, value: leaf(value) }];
  const members = Object.entries(value);
  if (members.length === 0) return [{ label, value: null }];
  return members.flatMap(([member, each]) =>
    fieldsOf(root, schema, { path: [...path, member], labels: here }, each, said),
  );
}

function numbered(labels: readonly string[], index: number): string[] {
  return [...labels.slice(0, -1), `${labels.at(-1) ?? ''} ${index + 1}`];
}

function titleOf(schema: unknown, name: string): string {
  return isRecord(schema) && typeof schema.title === 'string' && schema.title !== '' ? schema.title : name;
}

function leaf(value: unknown): DetailValue {
  return value === '' ? null : typeof value === 'boolean' || value === null ? value : String(value);
}

/** What can stand within a sentence: a text or number, or a list of them. */
function oneLine(value: unknown): string | undefined {
  if (typeof value === 'string' || typeof value === 'number') return value === '' ? undefined : String(value);
  if (!Array.isArray(value) || value.length === 0) return undefined;
  const entries = value.map(oneLine);
  return entries.some((entry) => entry === undefined) || value.some(Array.isArray) ? undefined : entries.join(', ');
}

function valueAt(detail: AuthorizationDetail, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, name) => (isRecord(value) && Object.hasOwn(value, name) ? value[name] : undefined),
    detail,
  );
}

function schemaAt(root: DetailsSchema, path: readonly string[]): unknown {
  return path.reduce<unknown>((schema, name) => schemaOfMember(root, schema, name), root);
}
