import { createHmac } from 'node:crypto';
import { errors } from 'oidc-provider';

/**
 * Whom a token for a client with `subject_type` pairwise is about (OpenID Connect Core 1.0, section 8.1): the same for all
 * clients of a sector, another one in each sector, and nothing that leads back to the account.
 *
 * @param secret never changes, as every such subject hangs on it
 * @param sector the host that the clients share
 */
export function pairwiseSubject(secret: Buffer, sector: unknown, accountId: string): string {
  if (typeof sector !== 'string') throw new errors.InvalidClientMetadata('could not determine a sector identifier');
  // As a list, so that no two pairs make the same text.
  return createHmac('sha256', secret)
    .update(JSON.stringify([sector, accountId]))
    .digest('base64url');
}
