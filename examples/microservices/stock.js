import express from 'express';
import { findIssuer } from './find-issuer.js';
import { createGuard } from './guard.js';
import { serve } from './serve.js';
import { services } from './settings.js';

const { stock } = services;
// It calls nobody, so that it has no secret.
const requireToken = createGuard(await findIssuer('stock'), stock.audience);

const app = express();

app.get('/levels', requireToken({ scope: 'stock:read' }), (request, response) => {
  response.json({ tea: 12, coffee: 3, askedBy: request.caller.claims.client_id });
});

app.get('/reservations', requireToken({ scope: 'orders:read', actor: 'orders' }), (request, response) => {
  const { sub, act } = request.caller.claims;
  const actors = [];
  for (let actor = act; actor !== undefined; actor = actor.act) actors.push(actor.sub);
  response.json({ customer: sub, tea: 1, actors });
});

serve(app, 'stock', stock);
