import express from 'express';
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
  async (request, response, next) => {
    const { claims, status, error, headers } = await authorize(request, readToken, wanted, {
      metadataUrl: resource?.url,
      address: request.ip,
    });
    if (claims === undefined) return response.status(status).set(headers).json({ error });
    request.token = claims;
    next();
  };

const app = express();
app.disable('x-powered-by');

if (resource !== undefined) app.get(resource.path, (_request, response) => response.json(resource.document));

app.get('/profile', requireToken(), (request, response) => {
  const { sub, client_id, scope } = request.token;
  response.json({ sub: sub ?? client_id, client_id, scope });
});

app.get('/admin', requireToken({ scope: 'admin', orRole: 'admin' }), (request, response) => {
  response.json({ message: `${request.token.client_id} may administer` });
});

app.listen(settings.port, (error) => {
  if (error) throw error;
  console.log(`listening on http://localhost:${settings.port}`);
});
