import type { Context } from 'koa';
import type { Clients } from '../clients/index.ts';
import { type ClientView, toClientView } from '../http/index.ts';

/** Over https the prefix keeps a sibling domain from setting it (RFC 6265bis, section 4.1.3.2). */
const cookieName = ({ secure }: Context) => (secure ? '__Host-tessera_client' : 'tessera_client');
/** Who comes back to a sign-in that was left open, comes back within a day. */
const REMEMBERED_MS = 24 * 60 * 60 * 1000;

/** Notes which client a browser came from, so that the page of an expired sign-in can lead back to it. */
export function rememberClient(context: Context, clientId: string): void {
  context.cookies.set(cookieName(context), Buffer.from(clientId).toString('base64url'), {
    httpOnly: true,
    sameSite: 'lax',
    secure: context.secure,
    maxAge: REMEMBERED_MS,
  });
}

/** The client that a browser came from last, with the best address to start again at. */
export async function recallClient(context: Context, clients: Clients): Promise<ClientView | undefined> {
  const clientId = context.cookies.get(cookieName(context));
  if (clientId === undefined) return undefined;
  // A cookie is what the browser says: nobody is called for it.
  const client = await clients.find(Buffer.from(clientId, 'base64url').toString(), { isHolder: true });
  if (client === undefined) return undefined;
  const { metadata } = client;
  const redirectOrigin = URL.parse(metadata.redirect_uris?.[0] ?? '')?.origin;
  // `ownAddress` has made it the issuer's.
  const { origin: issuer } = new URL(context.href);
  const clientUri = startOf(metadata.initiate_login_uri, issuer) ?? metadata.client_uri ?? redirectOrigin;
  return { ...toClientView(client), clientUri };
}

/** Where a client lets a sign-in be started by others, and by whom it is (OpenID Connect Core 1.0, section 4). */
function startOf(initiateLoginUri: string | undefined, issuer: string): string | undefined {
  const url = URL.parse(initiateLoginUri ?? '');
  url?.searchParams.set('iss', issuer);
  return url?.href;
}
