import type { Socket } from 'node:net';

/**
 * What a user says to the keeper, one JSON value a line. `token` first; the connection then stands for the user: the
 * kernel closes it however the user ends, so that no user is forgotten and none is believed alive that was killed.
 */
export type UserMessage = Readonly<{ say: 'join'; token: string }> | Readonly<{ say: 'leave' }>;

/** What the keeper answers: `staying` and `stopping` answer `leave`. */
export type KeeperMessage =
  | Readonly<{ say: 'ready' }>
  | Readonly<{ say: 'notice'; message: string }>
  | Readonly<{ say: 'fault'; message: string }>
  | Readonly<{ say: 'staying' }>
  | Readonly<{ say: 'stopping' }>;

const LONGEST_LINE = 65_536;

/** Writes one message. */
export function send(socket: Socket, message: UserMessage | KeeperMessage): void {
  socket.write(`${JSON.stringify(message)}\n`);
}

/** Calls `receive` with what the keeper says; a peer that doesn't speak as one is cut off. */
export function onKeeperMessage(socket: Socket, receive: (message: KeeperMessage) => void): void {
  onMessage(socket, toKeeperMessage, receive);
}

/** Calls `receive` with what a user says; a peer that doesn't speak as one is cut off. */
export function onUserMessage(socket: Socket, receive: (message: UserMessage) => void): void {
  onMessage(socket, toUserMessage, receive);
}

function onMessage<Message>(
  socket: Socket,
  parse: (value: object) => Message | undefined,
  receive: (message: Message) => void,
): void {
  let pending = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk) => {
    const lines = `${pending}${chunk}`.split('\n');
    pending = lines.pop() ?? '';
    if ([...lines, pending].some((line) => line.length > LONGEST_LINE)) return void socket.destroy();
    for (const line of lines) {
      // What stands behind a message for which the peer was cut off is not listened to.
      if (socket.destroyed) return;
      const value = parseObject(line);
      const message = value && parse(value);
      if (message === undefined) return void socket.destroy();
      receive(message);
    }
  });
}

function parseObject(line: string): object | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/* By hand: a schema library takes as long to load as the keeper takes to start, and somebody waits for that. */

function toUserMessage(value: Partial<Record<'say' | 'token', unknown>>): UserMessage | undefined {
  const { say, token } = value;
  if (say === 'leave') return { say };
  return say === 'join' && typeof token === 'string' ? { say, token } : undefined;
}

function toKeeperMessage(value: Partial<Record<'say' | 'message', unknown>>): KeeperMessage | undefined {
  const { say, message } = value;
  if (say === 'ready' || say === 'staying' || say === 'stopping') return { say };
  return (say === 'notice' || say === 'fault') && typeof message === 'string' ? { say, message } : undefined;
}
