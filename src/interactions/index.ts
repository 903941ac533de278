/**
 * Owns the steps in which a person takes part: sign-in, consent, sign-out, and their pages. A step ends by returning to
 * the provider; steps never call one another. Refuses to decide what comes next: the provider does.
 */
export { interactionRoutes } from './interaction-routes.ts';
export { createProviderPages } from './provider-pages.ts';
