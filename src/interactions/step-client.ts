import type { Clients, RegisteredClient } from '../clients/index.ts';
import { AppError } from '../errors.ts';
import type { InteractionStep } from '../oidc/index.ts';

/** The client that a step is for. @throws {AppError} where it was deleted since the step began */
export async function clientOf(step: InteractionStep, clients: Clients): Promise<RegisteredClient> {
  const client = await clients.find(step.clientId);
  if (client === undefined) {
    throw new AppError({ code: 'interaction_expired', message: 'The app that sent you here is no longer registered.' });
  }
  return client;
}
