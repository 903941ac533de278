import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../../errors.ts';
import { embeddedFault } from './embedded-fault.ts';
import { currentKeeper, type KeeperAddress } from './keeper-lock.ts';
import { type KeeperMessage, onKeeperMessage, send } from './keeper-protocol.ts';
import { launchKeeper, logPathOf } from './launch-keeper.ts';
import { isRunning } from './process-identity.ts';

/** A place at the keeper's table: as long as it is held, PostgreSQL runs. */
export type Seat = Readonly<{
  /** Resolves when the seat is gone: left, or because the keeper was killed. */
  lost: Promise<void>;
  /**
   * Gives up the seat; the last one to leave waits until PostgreSQL and the keeper have gone. Undefined when the keeper was
   * killed before it could answer.
   */
  leave(): Promise<'staying' | 'stopped' | undefined>;
}>;

const POLL_MS = 15;
/** Each launch normally ends in a keeper that can be joined; more than a few that don't mean that none will. */
const LAUNCH_ATTEMPTS = 5;

/**
 * Joins the keeper of the folder, launching one where there is none, and waits until PostgreSQL accepts connections.
 *
 * @throws AppError with the keeper's reason when PostgreSQL can't be started
 */
export async function takeSeat(options: {
  dataDirectory: string;
  keeperFolder: string;
  notice: (message: string) => void;
}): Promise<Seat> {
  let launches = 0;
  let launched: { exitCode: number | null; signalCode: NodeJS.Signals | null; pid?: number | undefined } | undefined;
  for (;;) {
    const address = currentKeeper(options.keeperFolder);
    if (address !== undefined) {
      const seat = await join(address, options.notice);
      if (seat !== undefined) return seat;
    } else if (
      launched === undefined ||
      launched.pid === undefined ||
      launched.exitCode !== null ||
      launched.signalCode !== null
    ) {
      if (launches++ === LAUNCH_ATTEMPTS) {
        throw embeddedFault(`its keeper doesn't start; ${logPathOf(options.dataDirectory)} says why`);
      }
      launched = launchKeeper(options.dataDirectory);
    }
    await delay(POLL_MS);
  }
}

/** Undefined when that keeper is about to end, or was killed. */
function join(address: KeeperAddress, notice: (message: string) => void): Promise<Seat | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(address.port, '127.0.0.1');
    const lost = new Promise<void>((lose) => socket.on('close', () => lose()));
    let answered: (message: KeeperMessage) => void = () => undefined;
    socket.on('error', () => socket.destroy());
    socket.on('close', () => resolve(undefined));
    socket.on('connect', () => send(socket, { say: 'join', token: address.token }));
    onKeeperMessage(socket, (message) => {
      if (message.say === 'notice') notice(message.message);
      else if (message.say === 'fault') {
        socket.destroy();
        reject(new AppError({ code: 'database_unavailable', message: message.message }));
      } else if (message.say === 'ready') {
        // A program that forgets to close must still be able to end.
        socket.unref();
        resolve({ lost, leave });
      } else answered(message);
    });

    async function leave(): Promise<'staying' | 'stopped' | undefined> {
      socket.ref();
      const answer = new Promise<KeeperMessage>((hear) => {
        answered = hear;
      });
      send(socket, { say: 'leave' });
      const said = await Promise.race([answer.then(({ say }) => say), lost]);
      if (said === 'stopping') while (isRunning(address.keeper)) await delay(POLL_MS);
      socket.destroy();
      return said === undefined ? undefined : said === 'stopping' ? 'stopped' : 'staying';
    }
  });
}
