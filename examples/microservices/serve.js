import { refuse } from './guard.js';

const TIMEOUT_MS = 5_000;

/** GET of another service, with a token for it. @throws with its status, where that is no success */
export async function callService(url, token) {
  const response = await fetch(url, {
    headers: { authorization: `Bearer ${token}` },
    // A token goes where it is for, and nowhere else.
    redirect: 'error',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (!response.ok) throw Object.assign(new Error(`${url} answers ${response.status}`), { status: response.status });
  return response.json();
}

/** Lets an app of Express listen at the port of its address. */
export function serve(app, name, { url }) {
  app.use((error, _request, response, _next) => {
    // What went wrong behind this service is for its log, not for its callers.
    console.error(`${name}: ${error.error ?? error.message}`);
    // Their token was good by its signature, and the issuer, or a service further on, knows that it has been ended.
    if (error.error === 'invalid_request' || error.status === 401) return refuse(response, 401, 'invalid_token');
    response.status(502).json({ error: 'temporarily_unavailable' });
  });
  const port = Number(process.env.PORT ?? new URL(url).port);
  app.listen(port, () => console.log(`${name} listening on http://localhost:${port}`));
}
