import { createServer } from 'node:http';
import { composeDomains, composeServer, openEnvironmentDatabase } from './compose.ts';
import { loadConfig } from './config/index.ts';
import { createLogger } from './telemetry/index.ts';

const config = loadConfig(process.env);
const logger = createLogger(config);
const opened = await openEnvironmentDatabase(config, logger);
const domains = await composeDomains(config, { logger, opened, actor: { kind: 'system' } });
const { app } = await composeServer(config, domains);
const server = createServer(app.callback());
server.listen(config.port, '127.0.0.1', () => logger.info('listening'));
process.on('SIGTERM', async () => {
  server.close();
  server.closeAllConnections();
  await domains.close();
});
