/** One attribute of a name: its type as an object identifier, its value as text or, where it was given so, as DER. */
export type NameAttribute = { type: string; text: string } | { type: string; der: Buffer };

/** Relative names, each a set of attributes, in the order of RFC 4514: the most specific first, unlike in a certificate. */
export type DistinguishedName = readonly (readonly NameAttribute[])[];

/** RFC 4514, section 3, and what else stands in subjects (RFC 4519; RFC 2985; CA/Browser Forum). Compared without case. */
const ATTRIBUTE_TYPES = new Map([
  ['cn', '2.5.4.3'],
  ['l', '2.5.4.7'],
  ['st', '2.5.4.8'],
  ['o', '2.5.4.10'],
  ['ou', '2.5.4.11'],
  ['c', '2.5.4.6'],
  ['street', '2.5.4.9'],
  ['dc', '0.9.2342.19200300.100.1.25'],
  ['uid', '0.9.2342.19200300.100.1.1'],
  ['sn', '2.5.4.4'],
  ['gn', '2.5.4.42'],
  ['givenname', '2.5.4.42'],
  ['initials', '2.5.4.43'],
  ['title', '2.5.4.12'],
  ['serialnumber', '2.5.4.5'],
  ['businesscategory', '2.5.4.15'],
  ['postalcode', '2.5.4.17'],
  ['dnqualifier', '2.5.4.46'],
  ['organizationidentifier', '2.5.4.97'],
  ['emailaddress', '1.2.840.113549.1.9.1'],
]);

const TYPE = /([A-Za-z][A-Za-z0-9-]*|(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+)=/y;
const DER_VALUE = /#((?:[0-9A-Fa-f]{2})+)/y;
/** A character, or one that is escaped: by itself, or as an octet of UTF-8. */
const CHARACTER = /[^\0"+,;<>\\]|\\(?:[\\"+,;<> #=]|[0-9A-Fa-f]{2})/uy;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads a distinguished name in the string form of RFC 4514, to the letter: spaces around separators, unknown attribute
 * types and whatever else could be read in two ways are refused.
 *
 * @returns undefined for what is no such name, or an empty one
 */
export function parseDistinguishedName(text: string): DistinguishedName | undefined {
  const names: NameAttribute[][] = [];
  let position = 0;
  let separator = ',';
  function take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = position;
    const found = pattern.exec(text);
    if (found !== null) position = pattern.lastIndex;
    return found;
  }
  function takeText(): string | undefined {
    const characters: string[] = [];
    for (let found = take(CHARACTER); found !== null; found = take(CHARACTER)) characters.push(found[0]);
    const [first = ''] = characters;
    return first === ' ' || first === '#' || characters.at(-1) === ' ' ? undefined : unescaped(characters);
  }
  for (;;) {
    const type = typeOf(take(TYPE)?.[1]);
    if (type === undefined) return undefined;
    const der = take(DER_VALUE)?.[1];
    const value = der === undefined ? takeText() : undefined;
    if (der === undefined && value === undefined) return undefined;
    const attribute = der === undefined ? { type, text: value ?? '' } : { type, der: Buffer.from(der, 'hex') };
    if (separator === ',') names.push([attribute]);
    else names.at(-1)?.push(attribute);
    if (position === text.length) return names;
    separator = text.charAt(position);
    if (separator !== ',' && separator !== '+') return undefined;
    position += 1;
  }
}

function typeOf(name: string | undefined): string | undefined {
  return name === undefined || /^\d/.test(name) ? name : ATTRIBUTE_TYPES.get(name.toLowerCase());
}

function unescaped(characters: readonly string[]): string | undefined {
  const octets = characters.map((character) => {
    if (!character.startsWith('\\')) return Buffer.from(character);
    return character.length === 3 ? Buffer.from(character.slice(1), 'hex') : Buffer.from(character.slice(1));
  });
  try {
    return utf8.decode(Buffer.concat(octets));
  } catch {
    return undefined;
  }
}
