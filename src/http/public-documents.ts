import { createHash } from 'node:crypto';
import type { Middleware } from 'koa';
import type { Config } from '../config/index.ts';
import type { Endpoint } from '../telemetry/index.ts';
import { endpointOfPath } from './endpoint-of-path.ts';

const PUBLIC_DOCUMENTS: ReadonlySet<Endpoint | undefined> = new Set<Endpoint>(['discovery', 'jwks']);

/**
 * Which part of the time that a key is announced may pass in caches of HTTP. A key signs once it was announced for the
 * whole of that time: the rest of it is left to what verifiers keep on their own, beyond HTTP, before they look again.
 */
const SHARE_OF_ANNOUNCE_TIME = 0.25;
/** However long keys are announced: after an hour nobody believes in a key that was revoked, nor misses one made in haste. */
const LONGEST_SECONDS = 3_600;

/** How long `/jwks` and discovery may be kept, in seconds; 0: asked again each time. */
export function publicDocumentSeconds({ announceSeconds }: Pick<Config['keyPolicy'], 'announceSeconds'>): number {
  return Math.min(Math.floor(announceSeconds * SHARE_OF_ANNOUNCE_TIME), LONGEST_SECONDS);
}

/**
 * Lets the keys and both discovery documents be cached, and nothing else: `Cache-Control`, and an `ETag` of their bytes,
 * which is the same on every node, with 304 for who has them already (RFC 9110, sections 8.8.3 and 13.1.2). Their errors
 * stay as they are: not to be stored.
 */
export function publicDocuments({ keyPolicy }: Pick<Config, 'keyPolicy'>): Middleware {
  const cacheControl = `public, max-age=${publicDocumentSeconds(keyPolicy)}`;
  return async (context, next) => {
    await next();
    if (!PUBLIC_DOCUMENTS.has(endpointOfPath(context.path))) return;
    if (context.status !== 200 || (context.method !== 'GET' && context.method !== 'HEAD')) return;
    const document = JSON.stringify(context.body);
    context.body = document;
    context.set('Cache-Control', cacheControl);
    const tag = `"${createHash('sha256').update(document).digest('base64url')}"`;
    context.set('ETag', tag);
    if (isAmong(context.get('If-None-Match'), tag)) context.status = 304;
  };
}

/**
 * By the weak comparison (RFC 9110, section 13.1.2). Not Koa's `fresh`, for which `Cache-Control: no-cache` is no 304: it
 * speaks to caches on the way (RFC 9111, section 5.2.1.4), and `fetch` sends it with every tag that a program gives it.
 */
function isAmong(ifNoneMatch: string, tag: string): boolean {
  return ifNoneMatch.split(',').some((given) => ['*', tag, `W/${tag}`].includes(given.trim()));
}
