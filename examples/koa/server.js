import Router from '@koa/router';
import Koa from 'koa';
import { createTokenReader } from './access-tokens.js';
import { authorize } from './bearer.js';
import { describeResource } from './resource-metadata.js';
import { readSettings } from './settings.js';

const settings = readSettings();
const readToken = createTokenReader(settings);
const resource = describeResource(settings);

/** Lets requests pass that bear a token for this API, with what is wanted of it. */
const requireToken =
  (wanted = {}) =>
  async (context, next) => {
    const { claims, status, error, headers } = await authorize(context.req, readToken, wanted, {
      metadataUrl: resource?.url,
      address: context.ip,
    });
    if (claims !== undefined) {
      context.state.token = claims;
      return next();
    }
    context.status = status;
    context.set(headers);
    context.body = { error };
  };

const router = new Router();

if (resource !== undefined) {
  router.get(resource.path, (context) => {
    context.body = resource.document;
  });
}

router.get('/profile', requireToken(), (context) => {
  const { sub, client_id, scope } = context.state.token;
  context.body = { sub: sub ?? client_id, client_id, scope };
});

router.get('/admin', requireToken({ scope: 'admin', orRole: 'admin' }), (context) => {
  context.body = { message: `${context.state.token.client_id} may administer` };
});

const app = new Koa();
app.use(router.routes());
app.listen(settings.port, () => console.log(`listening on http://localhost:${settings.port}`));
