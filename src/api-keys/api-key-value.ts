import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

const PREFIX = 'tsk_';
const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const BASE = BigInt(ALPHABET.length);

const ID_LENGTH = 16;
const SECRET_BYTES = 32;
/** The least with 62 ** length ≥ 2 ** 256. */
const SECRET_LENGTH = 43;
/** The least with 62 ** length ≥ 2 ** 32. */
const CHECKSUM_LENGTH = 6;
const LENGTH = PREFIX.length + ID_LENGTH + '_'.length + SECRET_LENGTH + CHECKSUM_LENGTH;

const ID = new RegExp(`^[0-9A-Za-z]{${ID_LENGTH}}$`);
const VALUE = new RegExp(`^${PREFIX}([0-9A-Za-z]{${ID_LENGTH}})_([0-9A-Za-z]{${SECRET_LENGTH + CHECKSUM_LENGTH}})$`);

/** `secret` is what stands behind the second underscore: 43 characters of the secret and 6 of the checksum. */
type ApiKeyParts = Readonly<{ id: string; secret: string }>;

/** A key's `client_id`, as it stands in tokens. @param id without prefix */
export function toApiKeyClientId(id: string): string {
  return `${PREFIX}${id}`;
}

/** The syntax of an id; what does not have it is never looked up. */
export function isApiKeyId(id: string): boolean {
  return ID.test(id);
}

/** The id of the key that a `client_id` names; `undefined`: it can't be a key's. */
export function parseApiKeyClientId(clientId: string): string | undefined {
  if (!clientId.startsWith(PREFIX)) return undefined;
  const id = clientId.slice(PREFIX.length);
  return isApiKeyId(id) ? id : undefined;
}

/** Whether somebody meant an API key, right or wrong. */
export function isMeantAsApiKey(value: string): boolean {
  return value.startsWith(PREFIX);
}

/** Whether a value has a key's beginning and length, which no other token has; whether it is one, `parseApiKey` says. */
export function isShapedAsApiKey(value: string): boolean {
  return value.length === LENGTH && value.startsWith(PREFIX);
}

/** An id that nobody can guess and no two keys share: 95 random bits. */
export function generateApiKeyId(): string {
  // 62 does not divide 256: what lies above its last multiple would favour the first characters.
  const limit = 256 - (256 % ALPHABET.length);
  let id = '';
  while (id.length < ID_LENGTH) {
    for (const byte of randomBytes(ID_LENGTH)) {
      if (byte < limit && id.length < ID_LENGTH) id += ALPHABET[byte % ALPHABET.length];
    }
  }
  return id;
}

/** The secret of a key, 256 random bits, with the checksum of the whole key behind it. */
export function generateApiKeySecret(id: string): string {
  const secret = toBase62(BigInt(`0x${randomBytes(SECRET_BYTES).toString('hex')}`), SECRET_LENGTH);
  return `${secret}${checksumOf(id, secret)}`;
}

/** The key as people are given it. */
export function formatApiKey({ id, secret }: ApiKeyParts): string {
  return `${PREFIX}${id}_${secret}`;
}

/** Takes a key apart. @returns `undefined` where it is malformed, or a typing error has made the checksum wrong */
export function parseApiKey(value: string): ApiKeyParts | undefined {
  const [, id, secret] = VALUE.exec(value) ?? [];
  if (id === undefined || secret === undefined) return undefined;
  return isChecksumRight(id, secret) ? { id, secret } : undefined;
}

/** Whether the 49 characters behind the second underscore have the right form, and the checksum of this id's key. */
export function isApiKeySecret(id: string, secret: string): boolean {
  return parseApiKey(formatApiKey({ id, secret })) !== undefined;
}

function isChecksumRight(id: string, secret: string): boolean {
  return secret.slice(SECRET_LENGTH) === checksumOf(id, secret.slice(0, SECRET_LENGTH));
}

/** CRC-32 (ISO 3309, as zlib has it) of everything before it, prefix and underscores too. */
function checksumOf(id: string, secret: string): string {
  let text = '';
  // Of numbers and not of bigints, as it is made for every key that is presented.
  for (let rest = crc32(`${PREFIX}${id}_${secret}`); rest > 0; rest = Math.floor(rest / ALPHABET.length)) {
    text = `${ALPHABET[rest % ALPHABET.length]}${text}`;
  }
  return text.padStart(CHECKSUM_LENGTH, '0');
}

/** Most significant character first, with zeros before it. */
function toBase62(value: bigint, length: number): string {
  let text = '';
  for (let rest = value; rest > 0n; rest /= BASE) text = `${ALPHABET[Number(rest % BASE)]}${text}`;
  return text.padStart(length, '0');
}
