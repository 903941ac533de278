import type { Knex } from 'knex';

/** One value of one row of one column, or a part of it. */
export type StoredValue = { place: string; text: string };

/** Every value in every column of every table of every schema that is not PostgreSQL's own; JSON also leaf by leaf. */
export async function readEverything(knex: Knex): Promise<StoredValue[]> {
  const tables: { table_schema: string; table_name: string }[] = await knex
    .withSchema('information_schema')
    .from('tables')
    .whereNotIn('table_schema', ['pg_catalog', 'information_schema'])
    .where({ table_type: 'BASE TABLE' })
    .select('table_schema', 'table_name');
  const values: StoredValue[] = [];
  for (const { table_schema, table_name } of tables) {
    const rows: Record<string, unknown>[] = await knex.withSchema(table_schema).from(table_name).select('*');
    for (const row of rows) {
      for (const [column, value] of Object.entries(row)) {
        collect(`${table_schema}.${table_name}.${column}`, value, values);
      }
    }
  }
  return values;
}

function collect(place: string, value: unknown, values: StoredValue[]): void {
  if (value === null || value === undefined) return;
  if (Buffer.isBuffer(value)) {
    for (const encoding of ['hex', 'base64', 'base64url', 'latin1'] as const) {
      values.push({ place, text: value.toString(encoding) });
    }
  } else if (value instanceof Date) {
    values.push({ place, text: value.toISOString() });
  } else if (typeof value === 'object') {
    values.push({ place, text: JSON.stringify(value) });
    for (const [member, part] of Object.entries(value)) {
      values.push({ place, text: member });
      collect(`${place}.${member}`, part, values);
    }
  } else {
    values.push({ place, text: String(value) });
  }
}

/** What encodings hide: anything that reads as hex or base64 is decoded, and looked at as bytes. */
function decodings(text: string): string[] {
  const words = text.match(/[\w+/-]{16,}/g) ?? [];
  return words.flatMap((word) => [
    Buffer.from(word, 'base64').toString('latin1'),
    ...(/^[0-9a-f]+$/i.test(word) ? [Buffer.from(word, 'hex').toString('latin1')] : []),
  ]);
}

/** Where a secret stands: as it is, as bytes, or in an encoding of either. @returns the places, none where all is well */
export function findSecret(values: readonly StoredValue[], secret: string): string[] {
  const bytes = Buffer.from(secret, 'base64url');
  const forms = new Set([
    secret,
    encodeURIComponent(secret),
    bytes.toString('latin1'),
    bytes.toString('hex'),
    bytes.toString('base64'),
    Buffer.from(secret).toString('hex'),
    Buffer.from(secret).toString('base64'),
    Buffer.from(secret).toString('base64url'),
  ]);
  // Decoded to a few bytes, a short secret would be found anywhere.
  const wanted = [...forms].filter((form) => form.length >= 8);
  const places = values
    .filter(({ text }) => [text, ...decodings(text)].some((seen) => wanted.some((form) => seen.includes(form))))
    .map(({ place }) => place);
  return [...new Set(places)];
}
