import { loadConfig } from '../../src/config/index.ts';
import { AppError } from '../../src/errors.ts';

/** The lines with which a start is refused in this environment; none where it isn't. */
export function faultsOf(environment: Record<string, string>): string[] {
  try {
    loadConfig(environment);
    return [];
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'configuration') throw error;
    return error.message.split('\n');
  }
}
