import express from 'express';
import { findIssuer } from './find-issuer.js';
import { createGuard } from './guard.js';
import { callService, serve } from './serve.js';
import { required, services } from './settings.js';
import { createTokenSource } from './token-source.js';

const { orders, stock } = services;
const issuer = await findIssuer('orders', required('CLIENT_SECRET'));
const requireToken = createGuard(issuer, orders.audience);
const tokens = createTokenSource(issuer);

const app = express();

app.get('/orders', requireToken({ scope: 'orders:read', actor: 'gateway' }), async (request, response) => {
  const { token, claims } = request.caller;
  const [levels, reservations] = await Promise.all([
    // What is in stock is nobody's in particular: the service asks in its own name.
    tokens.forItself(stock.audience, 'stock:read').then((own) => callService(`${stock.url}/levels`, own)),
    // What is reserved is somebody's: it asks for them.
    tokens
      .forCaller(token, stock.audience, 'orders:read')
      .then((theirs) => callService(`${stock.url}/reservations`, theirs)),
  ]);
  response.json({ customer: claims.sub, levels, reservations });
});

serve(app, 'orders', orders);
