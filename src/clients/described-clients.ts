import type { Clock } from '../config/index.ts';
import type { Api } from './api.ts';
import type { Apis } from './apis.ts';
import type { RegisteredClient } from './client.ts';
import type { ClientBlocks } from './client-blocks.ts';
import { grantableScopes, isDocumentUrl, readClientDocument } from './client-document.ts';
import type { ClientLookUp } from './clients.ts';

/** How often strangers may be made to answer: taken once for each document that is fetched. */
export interface DocumentFetchLimits {
  /** @param askedFrom the address of whoever named the client. @returns whether it may be fetched now */
  take(host: string, askedFrom: string | undefined): Promise<boolean>;
}

/** Clients that nobody registered: their id is the URL of a document that describes them (docs/agents.md). */
export type DescribedClients = Readonly<{
  /**
   * Undefined where the id is no such URL, is blocked, or has no document that can be used. Fetched where it is not known or
   * no longer fresh; what was good before serves for a day where it can't be fetched.
   *
   * @throws the database's own error
   */
  find(id: string, lookUp?: ClientLookUp): Promise<RegisteredClient | undefined>;
  /** Why the last `find` of an id found nothing, for the developer of that client; undefined where nothing is known of it. */
  reasonOf(id: string): string | undefined;
}>;

type Fetch = (url: string, init: RequestInit) => Promise<Response>;
type Document = Extract<ReturnType<typeof readClientDocument>, { ok: true }>;
type Entry = {
  document: Document | undefined;
  reason: string | undefined;
  /** Of the last good answer. */
  fetchedAt: number;
  /** Until then nobody is asked; epoch milliseconds, as `fetchedAt`. */
  freshUntil: number;
  /** What was made of the document while the APIs were these. */
  made?: { apis: readonly Api[]; client: RegisteredClient };
};

/** Section 5.4 of the draft has 5 KiB in mind; keys of 4,096 bits in the document take more. */
const MAX_DOCUMENT_BYTES = 16_384;
const TIMEOUT_MS = 2_500;
/** How long an answer is fresh that does not say so, and the least and the most that one may say (RFC 9111, section 5.2.2.1). */
const DEFAULT_FRESH_SECONDS = 300;
const LEAST_FRESH_SECONDS = 60;
const MOST_FRESH_SECONDS = 86_400;
/** What failed is not asked for again so soon, or one browser could make this server call strangers without end. */
const FAILED_SECONDS = 30;
/** A host that is away for the night takes nobody's access. */
const USABLE_WHEN_STALE_MS = 86_400_000;
/** At most 16 KiB each; whoever makes up URLs pushes out what was used longest ago, as fast as the limits let them. */
const MAX_DOCUMENTS = 1_000;

/**
 * Looks such clients up by their URLs.
 *
 * @param dependencies.fetch refuses addresses that are not public, and follows no redirect (src/oidc/outbound-fetch.ts)
 */
export function createDescribedClients(dependencies: {
  fetch: Fetch;
  apis: Pick<Apis, 'all'>;
  blocks: Pick<ClientBlocks, 'isBlocked'>;
  limits: DocumentFetchLimits;
  clock: Clock;
}): DescribedClients {
  const { fetch, apis, blocks, limits, clock } = dependencies;
  // A Map iterates in the order of insertion, and what is used is inserted anew: the first one is the one to leave.
  const entries = new Map<string, Entry>();
  const pending = new Map<string, Promise<Entry>>();

  async function entryOf(id: string, askedFrom: string | undefined): Promise<Entry> {
    const known = entries.get(id);
    if (known !== undefined && clock() < known.freshUntil) return keep(id, known);
    const running = pending.get(id);
    if (running !== undefined) return running;
    const asked = ask(id, known, askedFrom).finally(() => pending.delete(id));
    pending.set(id, asked);
    return asked;
  }

  async function ask(id: string, known: Entry | undefined, askedFrom: string | undefined): Promise<Entry> {
    const stale = known !== undefined && clock() - known.fetchedAt < USABLE_WHEN_STALE_MS ? known : undefined;
    const { host } = new URL(id);
    // Not kept: it is about whoever asks, and the next one may.
    if (!(await limits.take(host, askedFrom))) {
      return stale ?? { document: undefined, reason: 'was asked for too often', fetchedAt: 0, freshUntil: 0 };
    }
    const answer = await fetchDocument(fetch, id);
    const now = clock();
    if (answer.ok) {
      const freshUntil = now + answer.freshSeconds * 1_000;
      return keep(id, { document: answer.document, reason: undefined, fetchedAt: now, freshUntil });
    }
    const freshUntil = now + FAILED_SECONDS * 1_000;
    // A document that has become wrong says so itself; one that can't be had says nothing.
    const isStillUsed = stale !== undefined && answer.isAway;
    return keep(
      id,
      isStillUsed ? { ...stale, freshUntil } : { document: undefined, reason: answer.reason, fetchedAt: 0, freshUntil },
    );
  }

  function keep(id: string, entry: Entry): Entry {
    entries.delete(id);
    entries.set(id, entry);
    if (entries.size > MAX_DOCUMENTS) {
      for (const leastUsed of entries.keys()) {
        entries.delete(leastUsed);
        break;
      }
    }
    return entry;
  }

  function clientOf(entry: Entry): RegisteredClient | undefined {
    const { document, fetchedAt } = entry;
    if (document === undefined) return undefined;
    const all = apis.all();
    if (entry.made?.apis === all) return entry.made.client;
    const client = toClient(document, all, new Date(fetchedAt));
    entry.made = { apis: all, client };
    return client;
  }

  return Object.freeze({
    async find(id: string, { askedFrom, isHolder = false }: ClientLookUp = {}) {
      if (!isDocumentUrl(id) || (await blocks.isBlocked(id))) return undefined;
      // Whether a token counts hangs on nobody's server.
      if (isHolder) return clientOf(entries.get(id) ?? unknownEntry) ?? holder(id);
      return clientOf(await entryOf(id, askedFrom));
    },
    reasonOf: (id: string) => entries.get(id)?.reason ?? (isDocumentUrl(id) ? 'can not be used now' : undefined),
  });
}

const unknownEntry: Entry = { document: undefined, reason: undefined, fetchedAt: 0, freshUntil: 0 };

function toClient({ metadata, scopes, origins }: Document, all: readonly Api[], at: Date): RegisteredClient {
  const open = all.filter((api) => api.isOpenToUnregistered);
  const scope = grantableScopes(
    scopes,
    open.flatMap((api) => api.scopes.map((each) => each.scope)),
  );
  return described({ ...metadata, scope }, { apis: open.map(({ identifier }) => identifier), origins, at });
}

/** Of a client whose document nobody here has seen yet: that it may be there, and nothing that it may do. */
function holder(id: string): RegisteredClient {
  const metadata = {
    client_id: id,
    grant_types: [],
    response_types: [],
    token_endpoint_auth_method: 'none' as const,
    scope: 'openid',
  };
  return described(metadata, { apis: [], origins: [], at: new Date(0) });
}

function described(
  metadata: RegisteredClient['metadata'],
  { apis, origins, at }: { apis: readonly string[]; origins: readonly string[]; at: Date },
): RegisteredClient {
  return Object.freeze({
    id: metadata.client_id,
    metadata,
    apis,
    apiScopes: {},
    roles: [],
    mayIntrospectAny: false,
    allowedOrigins: origins,
    isDemo: false,
    origin: 'document',
    hasSecret: false,
    createdAt: at,
    updatedAt: at,
  });
}

type Answer =
  | { ok: true; document: Document; freshSeconds: number }
  /** `isAway`: nobody answered, or with a fault of their own. */
  | { ok: false; reason: string; isAway: boolean };

async function fetchDocument(fetch: Fetch, id: string): Promise<Answer> {
  let response: Response;
  let body: string;
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    response = await fetch(id, { headers: { accept: 'application/json' }, redirect: 'manual', signal });
    if (response.status !== 200) {
      await response.body?.cancel();
      return { ok: false, reason: `was answered with ${response.status}`, isAway: response.status >= 500 };
    }
    body = await readBounded(response);
  } catch (error) {
    if (error instanceof TooLarge)
      return { ok: false, reason: `is larger than ${MAX_DOCUMENT_BYTES} bytes`, isAway: false };
    // What failed on the way (a name, an address, a certificate) is nobody's business but ours.
    return { ok: false, reason: 'could not be fetched', isAway: true };
  }
  const type = response.headers.get('content-type') ?? '';
  if (!/^application\/([\w.-]+\+)?json\s*(;|$)/i.test(type)) {
    return { ok: false, reason: 'wants the media type application/json', isAway: false };
  }
  const read = readClientDocument(id, parse(body));
  if (!read.ok) return { ok: false, reason: read.reason, isAway: false };
  return { ok: true, document: read, freshSeconds: freshSeconds(response.headers) };
}

class TooLarge extends Error {}

async function readBounded({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_DOCUMENT_BYTES) throw new TooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function freshSeconds(headers: Headers): number {
  const control = headers.get('cache-control') ?? '';
  if (/\bno-(store|cache)\b/i.test(control)) return LEAST_FRESH_SECONDS;
  const seconds = /(?:^|[,\s])max-age\s*=\s*"?(\d{1,9})/i.exec(control)?.[1];
  if (seconds === undefined) return DEFAULT_FRESH_SECONDS;
  return Math.min(MOST_FRESH_SECONDS, Math.max(LEAST_FRESH_SECONDS, Number(seconds)));
}
