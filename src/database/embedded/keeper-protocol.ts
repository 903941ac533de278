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

/** Calls `receive` with every message that arrives; a peer that doesn't speak the protocol is cut off. */
export function onMessage<Message>(socket: Socket, receive: (message: Message) => void): void {
  let pending = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk) => {
    const lines = `${pending}${chunk}`.split('\n');
    pending = lines.pop() ?? '';
    if (pending.length > LONGEST_LINE) return void socket.destroy();
    for (const line of lines) {
      const message = parse<Message>(line);
      if (message === undefined) return void socket.destroy();
      receive(message);
    }
  });
}

function parse<Message>(line: string): Message | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && 'say' in value ? (value as Message) : undefined;
  } catch {
    return undefined;
  }
}
