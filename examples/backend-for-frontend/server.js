import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import cookieParser from 'cookie-parser';
import express from 'express';
import helmet from 'helmet';
import { LRUCache } from 'lru-cache';
import { sessionCookie, settings, signInCookie } from './settings.js';
import { accessTokenOf, beginSignIn, completeSignIn, signOut } from './sign-in.js';

/** Who is signed in, by the value of their cookie. In this process alone: several want a store that they share. */
const sessions = new LRUCache({ max: 10_000, ttl: 8 * 60 * 60 * 1_000 });

const app = express();
app.disable('x-powered-by');
app.use(
  helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
        connectSrc: ["'self'"],
        baseUri: ["'none'"],
        formAction: ["'none'"],
        frameAncestors: ["'none'"],
      },
    },
  }),
);
// The page itself is the same for everybody. It needs no cookie, and so it opens by a link from anywhere: a Strict cookie
// would not come along then, nor when the issuer sends the browser back. What is somebody's, the page fetches below.
app.use(express.static(join(import.meta.dirname, 'public')));
app.use(cookieParser(), (_request, response, next) => {
  response.set('Cache-Control', 'no-store');
  next();
});

app.get('/sign-in', async (_request, response) => {
  const { url, begun } = await beginSignIn();
  response.cookie(signInCookie.name, JSON.stringify(begun), signInCookie.options).redirect(303, url.href);
});

app.get('/callback', async (request, response) => {
  const { maxAge, ...options } = signInCookie.options;
  response.clearCookie(signInCookie.name, options);
  try {
    const session = await completeSignIn(request.originalUrl, JSON.parse(request.cookies[signInCookie.name] ?? '{}'));
    // A new value each time: one that somebody knew before the sign-in is worth nothing after it.
    const id = randomBytes(32).toString('base64url');
    sessions.set(id, session);
    response.cookie(sessionCookie.name, id, sessionCookie.options).redirect(303, '/');
  } catch (error) {
    console.error('no sign-in:', error.error ?? error.message);
    response.redirect(303, error.error === 'access_denied' ? '/?sign-in=denied' : '/?sign-in=failed');
  }
});

// A page of another origin can't send this header without our leave, and it has none: nothing here answers a preflight.
// SameSite alone would let pages of our own subdomains in.
app.use('/api', (request, response, next) => {
  if (request.get('x-requested-by') === 'page') return next();
  response.status(403).json({ error: 'the header X-Requested-By is missing' });
});

app.use('/api', (request, response, next) => {
  request.sessionId = request.cookies[sessionCookie.name] ?? '';
  request.session = sessions.get(request.sessionId);
  if (request.session !== undefined) return next();
  response.status(401).json({ error: 'nobody is signed in' });
});

app.get('/api/session', (request, response) => {
  response.json({ name: request.session.name });
});

app.get('/api/profile', async (request, response) => {
  const answer = await fetch(`${settings.apiUrl}/profile`, {
    headers: { authorization: `Bearer ${await accessTokenOf(request.session)}` },
    redirect: 'error',
    signal: AbortSignal.timeout(5_000),
  });
  if (answer.status === 401) return endSession(request, response).status(401).json({ error: 'nobody is signed in' });
  response.status(answer.status).json(await answer.json());
});

app.post('/api/sign-out', async (request, response) => {
  endSession(request, response);
  response.json({ location: await signOut(request.session) });
});

app.use('/api', (error, request, response, _next) => {
  // Revoked, or the account is no longer what it was.
  if (error.error === 'invalid_grant') {
    return endSession(request, response).status(401).json({ error: 'nobody is signed in' });
  }
  console.error('not answered:', error.error ?? error.message);
  response.status(503).json({ error: 'try again in a moment' });
});

function endSession(request, response) {
  sessions.delete(request.sessionId);
  return response.clearCookie(sessionCookie.name, sessionCookie.options);
}

app.listen(settings.port, () => console.log(`listening on ${settings.origin}`));
