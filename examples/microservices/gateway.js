import express from 'express';
import { findIssuer } from './find-issuer.js';
import { createGuard } from './guard.js';
import { callService, serve } from './serve.js';
import { required, services } from './settings.js';
import { createTokenSource } from './token-source.js';

const { gateway, orders } = services;
const issuer = await findIssuer('gateway', required('CLIENT_SECRET'));
const requireToken = createGuard(issuer, gateway.audience);
const tokens = createTokenSource(issuer);

const app = express();

// Apps call this one alone. Their token ends here: what goes on is one for the next service.
app.get('/orders', requireToken({ scope: 'orders:read' }), async (request, response) => {
  const token = await tokens.forCaller(request.caller.token, orders.audience, 'orders:read');
  response.json(await callService(`${orders.url}/orders`, token));
});

serve(app, 'gateway', gateway);
