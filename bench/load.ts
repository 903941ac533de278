/** The load, in a process of its own: autocannon for single requests, code-flow.ts for what takes several. */
import autocannon from 'autocannon';
import { answerParent } from './calls.ts';
import { type FlowKind, type LoadResult, openLanes } from './code-flow.ts';
import type { BenchApiKey, BenchClient, Registry } from './registry.ts';
import { ownerOf, tokenOf } from './seeded-artifacts.ts';
import { median } from './statistics.ts';

/** What is asked, and of how many tokens it is drawn. */
export type Scenario = RequestScenario | FlowScenario;

type FlowScenario = { [Kind in FlowKind]: { kind: Kind } }[FlowKind];

type RequestScenario =
  | { kind: 'client-credentials'; scope: string }
  | { kind: 'introspection'; tokens: number; tokensPerGrant: number }
  | { kind: 'api-key-credentials'; scope: string }
  | { kind: 'api-key-introspection' }
  /** So many issued to so many introspected. */
  | { kind: 'mixed'; scope: string; issuedShare: number; tokens: number; tokensPerGrant: number };

type Call = { path: string; client: BenchClient; body: string };
type Running = { mark(): void; stop(): Promise<LoadResult> };

/** Requests in the air; a batching store and a plain one both have enough to do. */
const CONNECTIONS = 64;
/** How soon autocannon notices that it shall stop, in milliseconds. */
const TICK_MS = 20;

let registry: Registry;
let running: Running | undefined;

/** The next request, drawn evenly. */
function drawFrom(scenario: RequestScenario): Call {
  if (scenario.kind === 'api-key-credentials') return tokenCall(drawOf(registry.apiKeys), scenario.scope);
  if (scenario.kind === 'api-key-introspection') {
    const number = draw(registry.apiKeys.length);
    const { key } = registry.apiKeys[number] as BenchApiKey;
    return { path: '/introspect', client: registry.clients[number] as BenchClient, body: `token=${key}` };
  }
  if (scenario.kind === 'client-credentials' || (scenario.kind === 'mixed' && Math.random() < scenario.issuedShare)) {
    return tokenCall(drawOf(registry.clients), scenario.scope);
  }
  const number = draw(scenario.tokens);
  const grantNumber = Math.floor(number / scenario.tokensPerGrant);
  const client = registry.clients[grantNumber % registry.clients.length] as BenchClient;
  if (client.id !== ownerOf(grantNumber, registry).clientId) throw new Error('a token is of another client');
  return { path: '/introspect', client, body: `token=${tokenOf(number)}` };
}

function tokenCall(client: BenchClient, scope: string): Call {
  return { path: '/token', client, body: `grant_type=client_credentials&scope=${encodeURIComponent(scope)}` };
}

function drawOf<T>(all: readonly T[]): T {
  return all[draw(all.length)] as T;
}

function draw(count: number): number {
  return Math.floor(Math.random() * count);
}

function headersOf({ id, secret }: BenchClient): Record<string, string> {
  return {
    authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
    'content-type': 'application/x-www-form-urlencoded',
    accept: 'application/json',
  };
}

function fire(address: string, scenario: RequestScenario): Running {
  const callers: readonly BenchClient[] = [...registry.clients, ...registry.apiKeys];
  const headers = new Map(callers.map((client) => [client.id, headersOf(client)]));
  let times: number[] = [];
  const done = Promise.withResolvers<autocannon.Result>();
  const instance = autocannon(
    {
      url: address,
      connections: CONNECTIONS,
      duration: 24 * 60 * 60,
      sampleInt: TICK_MS,
      requests: [
        {
          method: 'POST',
          setupRequest(request) {
            const { path, client, body } = drawFrom(scenario);
            return { ...request, path, body, headers: headers.get(client.id) };
          },
        },
      ],
      verifyBody: (body) => /"active":true|"access_token":/.test(String(body)),
    },
    (error, result) => (error ? done.reject(error) : done.resolve(result)),
  );
  instance.on('response', (_client, _status, _bytes, milliseconds) => times.push(milliseconds));
  return {
    mark() {
      times = [];
    },
    async stop() {
      instance.stop();
      const measured = times;
      const result = await done.promise;
      const failures = result.non2xx + result.errors + result.timeouts + result.mismatches;
      return { responses: measured.length, failures, medianMs: median(measured) };
    },
  };
}

const lanesByServer = new Map<string, ReturnType<typeof openLanes>>();

function lanesOf(address: string) {
  const lanes = lanesByServer.get(address);
  if (lanes === undefined) throw new Error('nobody has signed in there');
  return lanes;
}

const handlers = {
  prepare(given: Registry): void {
    registry = given;
  },
  /** Signs everybody in who goes through flows at this server. */
  async signIn(address: string): Promise<void> {
    const lanes = openLanes(address, registry);
    lanesByServer.set(address, lanes);
    await lanes;
  },
  async start({ address, scenario }: { address: string; scenario: Scenario }): Promise<void> {
    if (running !== undefined) throw new Error('a load is running');
    running =
      scenario.kind === 'code-flow' || scenario.kind === 'refresh'
        ? (await lanesOf(address)).run(scenario.kind)
        : fire(address, scenario);
  },
  /** What is counted and timed begins here. */
  mark(): void {
    running?.mark();
  },
  async stop(): Promise<LoadResult> {
    const result = await running?.stop();
    running = undefined;
    if (result === undefined) throw new Error('no load is running');
    return result;
  },
};

export type LoadHandlers = typeof handlers;

answerParent(handlers);
