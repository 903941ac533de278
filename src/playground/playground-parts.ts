import type { Apis, Clients } from '../clients/index.ts';
import type { Clock } from '../config/index.ts';
import type { Csrf, Pages } from '../http/index.ts';
import type { PlaygroundClient } from './playground-client.ts';
import type { PlaygroundSessions } from './playground-sessions.ts';

/** What the pages of the playground work with. */
export type PlaygroundParts = {
  issuer: string;
  apis: Pick<Apis, 'all'>;
  clients: Pick<Clients, 'find'>;
  csrf: Csrf;
  pages: Pages;
  clock: Clock;
  sessions: PlaygroundSessions;
  client: PlaygroundClient;
};
