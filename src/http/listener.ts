import {
  createServer as createHttpServer,
  type Server as HttpServer,
  type RequestListener,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer, type ServerOptions } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { outdatedConnections } from './client-certificate.ts';
import { unusableSetting } from './unusable-setting.ts';

type Server = HttpServer | HttpsServer;

/** The open ports of the server. */
export type Listener = Readonly<{
  /**
   * @returns the port: where 0 was asked for, the free one that the first address was given
   * @throws {AppError} `configuration` where the port can't be had
   */
  listen(): Promise<{ port: number }>;
  /**
   * Takes no new connection, lets the requests in hand end, and cuts what is left after `timeoutSeconds`. Connections
   * without a request are closed at once, or after a moment where one may be on its way. Resolves when all are closed.
   */
  drain(timeoutSeconds: number): Promise<void>;
  /**
   * Shows another certificate, and believes other authorities, on connections from now on. Only where it speaks TLS. Where the
   * authorities differ, connections from before end without cutting a request, and no certificate on them counts as verified.
   */
  renew(tls: ServerOptions): void;
}>;

export type ListenerOptions = {
  hosts: readonly string[];
  port: number;
  /** Which setting names the port. */
  setting?: 'PORT' | 'MTLS_PORT';
  /** Whether the port is this process's alone where several workers share theirs. */
  isOwn?: boolean;
  /** How it speaks TLS; absent: it doesn't. */
  tls?: ServerOptions | undefined;
};

/** Who sends a request this slowly wants to hold a connection, not an answer. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** Longer than the idle time of usual load balancers (60 s), so that never we close what they are about to use. */
const KEEP_ALIVE_MS = 65_000;

/** How long a connection that has not sent a whole head yet is waited for while draining. */
const HEAD_GRACE_MS = 500;

const options = {
  headersTimeout: HEADERS_TIMEOUT_MS,
  requestTimeout: REQUEST_TIMEOUT_MS,
  keepAliveTimeout: KEEP_ALIVE_MS,
};

export function createListener(
  handler: RequestListener,
  { hosts, port, setting = 'PORT', isOwn = false, tls }: ListenerOptions,
): Listener {
  const inHand = new Set<ServerResponse>();
  const connections = new Map<string, Socket>();
  let isDraining = false;
  let authorities = authoritiesOf(tls);
  const answer: RequestListener = (request, response) => {
    if (isDraining || outdatedConnections.has(request.socket)) response.shouldKeepAlive = false;
    inHand.add(response);
    response.once('close', () => {
      inHand.delete(response);
      // An answer that had begun before the drain has promised to keep its connection.
      if (isDraining) setImmediate(closeIdle);
    });
    handler(request, response);
  };
  const servers: Server[] = hosts.map(() =>
    tls === undefined ? createHttpServer(options, answer) : createHttpsServer({ ...options, ...tls }, answer),
  );
  for (const server of servers) {
    server.on('connection', hold);
    // Requests come over another socket than the one that was opened: it takes that one's place.
    if (tls !== undefined) server.on('secureConnection', takeOver);
  }

  function takeOver(socket: Socket): void {
    const opened = connections.get(endsOf(socket));
    // The authorities are those of the moment when it was opened, however late the client says hello.
    if (opened === undefined || outdatedConnections.has(opened)) outdatedConnections.add(socket);
    hold(socket);
  }

  function hold(socket: Socket): void {
    const ends = endsOf(socket);
    connections.set(ends, socket);
    socket.once('close', () => {
      if (connections.get(ends) === socket) connections.delete(ends);
    });
  }

  function endWithAnswers(): void {
    for (const response of inHand) if (!response.headersSent) response.shouldKeepAlive = false;
  }

  function closeIdle(): void {
    for (const server of servers) server.closeIdleConnections();
  }

  /** Node takes a connection that has never sent anything, as browsers open them in advance, for a busy one. */
  function cutWithoutRequest(): void {
    const busy = new Set([...inHand].map(({ req }) => req.socket));
    for (const socket of connections.values()) if (!busy.has(socket)) socket.destroy();
  }

  return {
    async listen() {
      let opened: AddressInfo | undefined;
      for (const [index, server] of servers.entries()) {
        const place = { host: hosts[index] ?? '', port: opened?.port ?? port, exclusive: isOwn };
        const outcome = await open(server, place, setting);
        if (outcome === 'listening') opened = server.address() as AddressInfo;
      }
      if (opened === undefined) throw unusableSetting(`HOST wants an address of this machine: ${hosts.join(', ')}`);
      return { port: opened.port };
    },
    async drain(timeoutSeconds) {
      isDraining = true;
      endWithAnswers();
      const timers = [
        setTimeout(cutWithoutRequest, HEAD_GRACE_MS),
        setTimeout(() => {
          for (const server of servers) server.closeAllConnections();
        }, timeoutSeconds * 1_000),
      ];
      await Promise.all(servers.filter((server) => server.listening).map(close));
      for (const timer of timers) clearTimeout(timer);
    },
    renew(secured) {
      for (const server of servers) if ('setSecureContext' in server) server.setSecureContext(secured);
      if (authoritiesOf(secured) === authorities) return;
      authorities = authoritiesOf(secured);
      for (const socket of connections.values()) outdatedConnections.add(socket);
      endWithAnswers();
      closeIdle();
    },
  };
}

/** In PEM; the same for all ports that ask for no certificate. */
function authoritiesOf(tls: ServerOptions | undefined): string {
  return String(tls?.ca);
}

function endsOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}

const NO_SUCH_ADDRESS = new Set<string | undefined>(['EADDRNOTAVAIL', 'EAFNOSUPPORT', 'ENOTFOUND']);

/** An address that this machine hasn't got, such as ::1 where there is no IPv6, is passed over. */
function open(
  server: Server,
  place: { host: string; port: number; exclusive: boolean },
  setting: string,
): Promise<'listening' | 'no such address'> {
  const { port } = place;
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (NO_SUCH_ADDRESS.has(error.code)) resolve('no such address');
      else if (error.code === 'EADDRINUSE')
        reject(unusableSetting(`${setting} wants a free port: ${port} is taken`, error));
      else if (error.code === 'EACCES')
        reject(unusableSetting(`${setting} wants a port that this user may open: not ${port}`, error));
      else reject(error);
    });
    server.listen(place, () => resolve('listening'));
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
}
