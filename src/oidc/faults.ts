import { errors } from 'oidc-provider';
import { isDatabaseUnavailable } from '../database/index.ts';

/** The answer while the database is away: never a verdict on a token, always 503 (RFC 6749, section 4.1.2.1). */
class TemporarilyUnavailable extends errors.OIDCProviderError {
  constructor(cause: unknown) {
    super(503, 'temporarily_unavailable');
    this.cause = cause;
    this.expose = true;
    this.error_description = 'the server cannot answer at the moment, try again shortly';
  }
}

/** Runs what needs the database for the provider, and turns its absence into a fault that the provider can answer with. */
export async function failClosed<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw isDatabaseUnavailable(error) ? new TemporarilyUnavailable(error) : error;
  }
}
