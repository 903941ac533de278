import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export type DatabaseWay = {
  /** The database behind it, by way of it. */
  url: string;
  open(): Promise<void>;
  /** Every connection ends, and none is made until it is opened again. */
  cut(): Promise<void>;
  /** Connections stay, and nothing gets through until `resume`, as in a network that drops packets. */
  silence(): void;
  resume(): void;
};

/** A way to PostgreSQL that can be cut and opened again, on one port. */
export async function openDatabaseWay(databaseUrl: string): Promise<DatabaseWay> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let server: Server;
  let port = 0;

  async function open(): Promise<void> {
    server = createServer((near) => {
      const far = connect(Number(target.port), target.hostname);
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(from);
        from
          .on('error', () => to.destroy())
          .on('close', () => {
            sockets.delete(from);
            to.destroy();
          });
        from.pipe(to);
      }
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  }

  async function cut(): Promise<void> {
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  }

  function silence(): void {
    for (const socket of sockets) socket.pause();
  }

  function resume(): void {
    for (const socket of sockets) socket.resume();
  }

  await open();
  const url = new URL(target);
  url.hostname = '127.0.0.1';
  url.port = String(port);
  return { url: url.href, open, cut, silence, resume };
}
