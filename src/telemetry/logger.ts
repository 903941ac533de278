import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino';
import pretty from 'pino-pretty';
import type { Config } from '../config/index.ts';
import { loggableError } from './loggable-error.ts';

export type { Logger };

/** Members that may hold something that grants access, wherever one is logged by mistake. */
const SECRET_MEMBERS = [
  'access_token',
  'authorization',
  'client_assertion',
  'client_secret',
  'code_verifier',
  'cookie',
  'id_token',
  'id_token_hint',
  'password',
  'refresh_token',
  'request',
  'secret',
  'set-cookie',
  'token',
];

const redactedPaths = SECRET_MEMBERS.flatMap((name) => {
  const member = name.includes('-') ? `["${name}"]` : `.${name}`;
  return [member.replace(/^\./, ''), `*${member}`, `*.*${member}`, `*.*.*${member}`];
});

/** `code` elsewhere is the code of an error, which is wanted. */
const authorizationCodePaths = ['params', 'query', 'body'].flatMap((name) => [`${name}.code`, `*.${name}.code`]);

/**
 * JSON lines in production, readable ones while developing; secrets are removed in both.
 *
 * @param origin what every line bears, where several processes write to one log
 */
export function createLogger(
  config: Pick<Config, 'logLevel' | 'environment'>,
  destination: DestinationStream = process.stdout,
  origin: { pid: number } | null = null,
): Logger {
  const isPretty = config.environment === 'development';
  return pino(
    {
      level: config.logLevel,
      base: origin,
      timestamp: stdTimeFunctions.isoTime,
      serializers: { err: loggableError },
      redact: { paths: [...redactedPaths, ...authorizationCodePaths], censor: '[redacted]' },
    },
    isPretty ? pretty({ destination, sync: true, ignore: 'hostname', translateTime: 'SYS:HH:MM:ss' }) : destination,
  );
}
