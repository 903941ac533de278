/** Requests that are written by hand, so that a server has them half. */
import { connect } from 'node:net';
import { demoClients } from '../../src/playground/demo-data.ts';
import { isListening, type ServerProcess } from './process.ts';
import { until } from './until.ts';

/** A connection that is read and written by hand. */
type Conversation = { heard(): string; write(text: string): void; isClosed(): boolean };

export async function converse(server: Pick<ServerProcess, 'port'>): Promise<Conversation> {
  const socket = connect(server.port, 'localhost');
  let heard = '';
  let isClosed = false;
  socket.setEncoding('utf8').on('data', (text) => {
    heard += text;
  });
  socket
    .on('error', () => undefined)
    .on('close', () => {
      isClosed = true;
    });
  await new Promise((resolve) => socket.once('connect', resolve));
  return {
    heard: () => heard,
    write: (text) => socket.write(text),
    isClosed: () => isClosed,
  };
}

const SERVICE = demoClients.service;
const BODY = new URLSearchParams({
  grant_type: 'client_credentials',
  scope: 'files:read',
  resource: 'urn:demo:files',
}).toString();
const FIRST_PART = BODY.slice(0, 20);
/** What the server lacks of a request in hand. */
export const SECOND_PART = BODY.slice(20);

/** A token request of which the server has the head and the first part of the body. */
export async function requestInHand(server: Pick<ServerProcess, 'port'>): Promise<Conversation> {
  const conversation = await converse(server);
  conversation.write(
    [
      'POST /token HTTP/1.1',
      `Host: localhost:${server.port}`,
      `Authorization: Basic ${Buffer.from(`${SERVICE.id}:${SERVICE.secret}`).toString('base64')}`,
      'Content-Type: application/x-www-form-urlencoded',
      `Content-Length: ${BODY.length}`,
      // The answer to this tells that the request has reached the server.
      'Expect: 100-continue',
      '\r\n',
    ].join('\r\n'),
  );
  await until('the server expects the body', () => conversation.heard().includes('100 Continue'));
  conversation.write(FIRST_PART);
  return conversation;
}

/** That a request in hand was answered, and its connection given up. */
export const IS_ANSWERED = /HTTP\/1\.1 200 OK\r\n.*^Connection: close\r\n.*"access_token":"/ims;

export async function refusesConnections(server: Pick<ServerProcess, 'port'>): Promise<void> {
  await until('new connections are refused', async () => !(await isListening(server.port)));
}
