import type { Work } from '../jobs/index.ts';
import type { Oidc } from '../oidc/index.ts';

/** Where notices for clients wait (src/oidc/backchannel-logout.ts). */
export const LOGOUT_QUEUE = 'backchannel-logout';

/** A client that is down has half an hour to come back. */
export function logoutWork(send: Oidc['sendLogout']): Work {
  return {
    queue: LOGOUT_QUEUE,
    concurrency: 5,
    attempts: 11,
    firstPauseSeconds: 2,
    longestPauseSeconds: 600,
    run: (notice, { signal }) => send(notice, signal),
  };
}
