import type { KoaContextWithOIDC, Provider } from 'oidc-provider';

const SIGNED = 'application/token-introspection+jwt';

/**
 * Gives the answer of /introspect as a signed JWT where that is asked for (RFC 9701, sections 4 and 5), whatever kind of token
 * or key it is about. Comes before all that completes such an answer, so that it signs what they have made of it: the
 * library, which would sign first, is asked for JSON.
 */
export function signIntrospection(provider: Provider, path: string) {
  return async (context: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void> => {
    // Which route it is, the library says only once it is through.
    const wantsSigned = context.path === path && context.accepts('json', SIGNED) === SIGNED;
    if (wantsSigned) context.req.headers.accept = 'application/json';
    await next();
    if (!wantsSigned || context.status !== 200) return;
    const { client } = context.oidc;
    const token = new provider.IdToken({}, { client, ctx: context });
    token.set('token_introspection', context.body);
    context.body = await token.issue({ use: 'introspection' });
    context.type = `${SIGNED}; charset=utf-8`;
  };
}
