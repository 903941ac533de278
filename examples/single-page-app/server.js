import { join } from 'node:path';
import express from 'express';
import helmet from 'helmet';
import { apiScope, apiUrl, audience, issuer, portOr, required, usesDpop } from './settings.js';

const here = import.meta.dirname;

/** What the page may load, and whom it may call: where a script was smuggled in, it can tell nobody else what it finds. */
const policy = (frameAncestors) =>
  helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
        connectSrc: ["'self'", issuer, new URL(apiUrl).origin],
        frameSrc: ["'self'", issuer],
        baseUri: ["'none'"],
        formAction: ["'none'"],
        requireTrustedTypesFor: ["'script'"],
        frameAncestors: [frameAncestors],
      },
    },
  });

const app = express();
app.disable('x-powered-by');
// In a frame of the page itself, and of no other: that is where a renewal comes back to.
app.use('/renewed.html', policy("'self'"));
app.use(/^(?!\/renewed\.html)/, policy("'none'"));

/** What the page has to know; none of it is secret. */
const settings = {
  issuer,
  clientId: required('CLIENT_ID'),
  apiUrl,
  audience,
  apiScope,
  usesDpop,
  usesRefreshTokens: process.env.REFRESH_TOKENS === 'true',
  renewBeforeSeconds: Number(process.env.RENEW_BEFORE_SECONDS ?? 60),
};
app.get('/settings.json', (_request, response) => {
  response.set('Cache-Control', 'no-store').json(settings);
});

app.get('/callback', (_request, response) => {
  response.set('Cache-Control', 'no-store').sendFile(join(here, 'public/index.html'));
});
app.use('/library', express.static(join(here, 'node_modules/oidc-client-ts/dist/browser')));
app.use(express.static(join(here, 'public')));

const port = portOr(4000);
app.listen(port, () => console.log(`page on http://localhost:${port}`));
