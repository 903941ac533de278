import { type Adapter, type AdapterPayload, errors, Provider } from 'oidc-provider';
import { type Audit, auditContextOf } from '../audit/index.ts';
import type { DeviceLimits } from '../limits/index.ts';
import { failClosed } from './faults.ts';

/** Too many codes were tried from where the person is; the page says so (RFC 8628, section 5.1). */
export class TooManyUserCodes extends errors.OIDCProviderError {
  readonly retryAfterSeconds: number;

  constructor(retryAfterSeconds: number) {
    super(429, 'slow_down');
    this.error_description = 'too many codes were tried, wait before the next one';
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/**
 * Device codes with their limits, which the library leaves to whoever keeps them: it looks one up by its user code for each
 * try of a person, and by itself for each poll of a device.
 */
export function deviceCodeAdapter(
  adapter: Adapter,
  dependencies: { deviceLimits: DeviceLimits; audit: Pick<Audit, 'record'> },
): Adapter {
  const { deviceLimits, audit } = dependencies;
  return {
    ...adapter,
    /** @throws {errors.SlowDown} to a device that asks again before its interval is over (RFC 8628, section 3.5) */
    async find(deviceCode) {
      const found = await adapter.find(deviceCode);
      if (!found || Provider.ctx?.oidc.route !== 'token' || !isPending(found)) return found;
      if (await failClosed(() => deviceLimits.mayPoll(deviceCode))) return found;
      throw new errors.SlowDown();
    },
    /** @throws {TooManyUserCodes} where too many wrong ones came from the same address */
    async findByUserCode(userCode) {
      const context = Provider.ctx;
      if (context === undefined) return adapter.findByUserCode(userCode);
      const { ip } = context;
      const decision = await deviceLimits.tryUserCode(ip);
      if (!decision.isAllowed) {
        if (decision.isFirst) await audit.record({ type: 'user_code.limited' }, auditContextOf(context));
        throw new TooManyUserCodes(decision.retryAfterSeconds);
      }
      const found = await adapter.findByUserCode(userCode).catch(async (error: unknown) => {
        await deviceLimits.giveBack(ip);
        throw error;
      });
      await (found ? deviceLimits.giveBack(ip) : deviceLimits.wasWrong());
      return found;
    },
  };
}

/** What is decided or over is told at once: a person waits in front of the device. */
function isPending({ accountId, error, exp }: AdapterPayload): boolean {
  return accountId === undefined && error === undefined && typeof exp === 'number' && exp * 1000 > Date.now();
}
