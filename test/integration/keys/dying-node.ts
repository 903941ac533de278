/** A node that says so when it has made its keys, and then hangs in the middle of the transaction that stores them. */
import { createAudit } from '../../../src/audit/index.ts';
import { openDatabase } from '../../../src/database/index.ts';
import { createKeyWrapper, createSigningKeys } from '../../../src/keys/index.ts';
import { silentLogger } from '../../harness/loggers.ts';

const { DATABASE_URL = '', KEY_ENCRYPTION_KEY = '' } = process.env;
const { knex } = openDatabase({ url: DATABASE_URL, poolSize: 4, logger: silentLogger });
const audit = createAudit({ knex, clock: Date.now, logger: silentLogger });

const keys = createSigningKeys({
  knex,
  wrapper: createKeyWrapper({ keyEncryptionKeys: [Buffer.from(KEY_ENCRYPTION_KEY, 'base64url')] }),
  policy: {
    algorithms: ['RS256', 'ES256'],
    rotationSeconds: 90 * 3_600,
    announceSeconds: 14 * 3_600,
    retentionSeconds: 3_600,
  },
  audit: {
    async recordWithin(trx, event) {
      await audit.recordWithin(trx, event);
      process.send?.('made');
      await new Promise(() => undefined);
    },
  },
  algorithmsInUse: async () => ['RS256'],
});
await keys.advance();
