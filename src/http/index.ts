/**
 * Owns what lies between the network and the rooms that answer: addresses, headers, forms and their protection, pages and
 * their words, the answer to an error, what is said of a request when it has ended, health. Refuses to decide anything about people, clients
 * or tokens.
 */

export { apiKeyBearer } from './api-key-bearer.ts';
export { createClientCertificates } from './client-certificate.ts';
export { type Csrf, createCsrf } from './csrf.ts';
export { respondToErrors } from './error-responder.ts';
export { formOf, readForm } from './form.ts';
export { forwardRequest } from './forward-request.ts';
export { createHealth } from './health.ts';
export { healthChecks } from './health-checks.ts';
export { createListener, type Listener } from './listener.ts';
export { locales } from './messages.ts';
export { createMetricsServer } from './metrics-server.ts';
export { observeRequests } from './observe-requests.ts';
export { ownAddress, trustsPeer } from './own-address.ts';
export { type ClientView, createPages, type Pages, toClientView } from './pages.ts';
export { postToGet } from './post-to-get.ts';
export { publicDocuments } from './public-documents.ts';
export { createRequestLog } from './request-log.ts';
export { createRequestMetrics } from './request-metrics.ts';
export { routesOf } from './routes-of.ts';
export { securityHeaders } from './security-headers.ts';
export { showError } from './show-error.ts';
export { readTlsFiles, type TlsFiles, type TlsMaterial } from './tls-files.ts';
export { tlsOptions } from './tls-options.ts';
export { watchTlsFiles } from './tls-watch.ts';
export { createViews, definePage } from './views.ts';
