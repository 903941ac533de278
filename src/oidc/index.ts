/**
 * Owns the protocol: everything between a request at an endpoint and what is stored or answered, by configuring
 * oidc-provider and extending it through its public interface. The only room that imports it. Refuses to decide what
 * clients, accounts and keys are: it asks their rooms.
 */
export { createAccountNotices, type KeepNotice } from './backchannel-logout.ts';
export { createMetadataValidator } from './client-metadata-validator.ts';
export { type ConsentsStore, createConsentsStore } from './consents-store.ts';
export type { ClaimsHook } from './contextual-claims.ts';
export type { DeviceInfo, DevicePages, UserCodeForm } from './device-flow.ts';
export { endAccess, endToken } from './end-access.ts';
export { type InteractionStep, type InteractionSteps, noLongerOpen } from './interaction-steps.ts';
export { createOidc, type Oidc, type OidcDependencies } from './oidc.ts';
export { createOutboundFetch } from './outbound-fetch.ts';
export type { ProviderPages } from './provider-configuration.ts';
