import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export type DatabaseWay = {
  /** The database behind it, by way of it. */
  url: string;
  open(): Promise<void>;
  /** Every connection ends, and none is made until it is opened again. */
  cut(): Promise<void>;
  /**
   * Connections stay, and what is sent on them is dropped without a word, as by a firewall or after a failover; the same
   * holds for new ones until `resume`. Those from before never carry anything again.
   */
  silence(): void;
  resume(): void;
  /** Leads to another database from now on, as a virtual address does after a failover; connections from before end. */
  moveTo(databaseUrl: string): void;
  /** How many connections were made so far. */
  connectionCount(): number;
};

/** A way to PostgreSQL that can be cut and opened again, on one port. */
export async function openDatabaseWay(databaseUrl: string): Promise<DatabaseWay> {
  let target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  const dropped = new WeakSet<Socket>();
  let isSilent = false;
  let connectionCount = 0;
  let server: Server;
  let port = 0;

  async function open(): Promise<void> {
    server = createServer({ allowHalfOpen: true }, (near) => {
      const far = connect({ port: Number(target.port), host: target.hostname, allowHalfOpen: true });
      connectionCount += 1;
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(from);
        if (isSilent) dropped.add(from);
        from
          .on('data', (bytes) => dropped.has(from) || to.write(bytes))
          .on('end', () => dropped.has(from) || to.end())
          .on('error', () => to.destroy())
          .on('close', () => {
            sockets.delete(from);
            // What goes away in silence isn't heard of by the near side; at the far one nobody is waiting.
            if (from === near || !dropped.has(from)) to.destroy();
          });
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

  function moveTo(url: string): void {
    target = new URL(url);
    for (const socket of sockets) if (!dropped.has(socket)) socket.destroy();
  }

  function silence(): void {
    isSilent = true;
    for (const socket of sockets) dropped.add(socket);
  }

  function resume(): void {
    isSilent = false;
  }

  await open();
  const url = new URL(target);
  url.hostname = '127.0.0.1';
  url.port = String(port);
  return { url: url.href, open, cut, silence, resume, moveTo, connectionCount: () => connectionCount };
}
