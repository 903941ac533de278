import express from 'express';
import { findIssuer } from './find-issuer.js';
import { createGuard } from './guard.js';
import { describeResource } from './resource-metadata.js';
import { callService, serve } from './serve.js';
import { required, services } from './settings.js';
import { createTokenSource } from './token-source.js';

const { gateway, orders } = services;
const issuer = await findIssuer('gateway', required('CLIENT_SECRET'));
// The only one that apps meet: it says where tokens for it are to be had, where its identifier is a URL.
const resource = describeResource({ issuer: issuer.serverMetadata().issuer, audience: gateway.audience });
const requireToken = createGuard(issuer, gateway.audience, resource?.url);
const tokens = createTokenSource(issuer);

const app = express();

if (resource !== undefined) app.get(resource.path, (_request, response) => response.json(resource.document));

// Apps call this one alone. Their token ends here: what goes on is one for the next service.
app.get('/orders', requireToken({ scope: 'orders:read' }), async (request, response) => {
  const token = await tokens.forCaller(request.caller.token, orders.audience, 'orders:read');
  response.json(await callService(`${orders.url}/orders`, token));
});

serve(app, 'gateway', gateway);
