/** People whose apps go through the code flow, or refresh, again and again: one lane each. */
import { createHash, randomBytes } from 'node:crypto';
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { authorizationRequest, authorize } from '../test/harness/flows.ts';
import { Person } from '../test/harness/person.ts';
import { PASSWORD, REDIRECT_URI, type Registry } from './registry.ts';
import { median } from './statistics.ts';

export type FlowKind = 'code-flow' | 'refresh';
/** What a stretch of load came to. */
export type LoadResult = { responses: number; failures: number; medianMs: number };

type Lane = { clientId: string; cookies: Map<string, string>; refreshToken: string };
type Response = { status: number; headers: IncomingHttpHeaders; body: string };

/** Sign-ins that run at once: each hashes a password. */
const SIGN_INS_AT_ONCE = 4;
const SCOPE = 'openid profile';

/** Signs people in, has them allow their app, and gets each a refresh token. */
export async function openLanes(address: string, registry: Registry) {
  const agent = new Agent({ keepAlive: true });
  const lanes: Lane[] = [];

  async function signIn(index: number): Promise<void> {
    const person = new Person();
    const clientId = registry.publicClientIds[index] as string;
    const started = authorizationRequest(address, clientId, {
      redirect_uri: REDIRECT_URI,
      scope: `${SCOPE} offline_access`,
      prompt: 'consent',
    });
    const back = await authorize(person, started, { login: registry.logins[index] as string, password: PASSWORD });
    const tokens = await redeem(clientId, back.searchParams.get('code') ?? '', started.verifier);
    lanes[index] = { clientId, cookies: new Map(Object.entries(person.cookies())), refreshToken: tokens.refresh_token };
  }

  async function redeem(clientId: string, code: string, verifier: string) {
    const body = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT_URI, code_verifier: verifier };
    const form = { client_id: clientId, ...body };
    return json<'access_token' | 'refresh_token'>(await send(address, '/token', { agent, form }));
  }

  async function goThroughFlow(lane: Lane): Promise<void> {
    const verifier = randomBytes(32).toString('base64url');
    const query = new URLSearchParams({
      client_id: lane.clientId,
      response_type: 'code',
      redirect_uri: REDIRECT_URI,
      scope: SCOPE,
      state: verifier.slice(0, 16),
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
    });
    const cookie = [...lane.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const redirect = await send(address, `/authorize?${query}`, { agent, headers: { cookie, accept: 'text/html' } });
    for (const line of redirect.headers['set-cookie'] ?? []) keepCookie(lane.cookies, line);
    const code = new URL(redirect.headers.location ?? '', address).searchParams.get('code');
    if (code === null) throw new Error(`no code: ${redirect.status} ${redirect.headers.location}`);
    const { access_token } = await redeem(lane.clientId, code, verifier);
    const person = await json<'sub'>(
      await send(address, '/userinfo', { agent, headers: { authorization: `Bearer ${access_token}` } }),
    );
    if (person.sub === undefined) throw new Error('no person in the answer of userinfo');
  }

  async function refresh(lane: Lane): Promise<void> {
    const form = { client_id: lane.clientId, grant_type: 'refresh_token', refresh_token: lane.refreshToken };
    const { refresh_token } = await json<'refresh_token'>(await send(address, '/token', { agent, form }));
    if (refresh_token === lane.refreshToken) throw new Error('a refresh token did not rotate');
    lane.refreshToken = refresh_token;
  }

  const steps: Record<FlowKind, (lane: Lane) => Promise<void>> = { 'code-flow': goThroughFlow, refresh };

  for (let start = 0; start < registry.publicClientIds.length; start += SIGN_INS_AT_ONCE) {
    const some = registry.publicClientIds.slice(start, start + SIGN_INS_AT_ONCE);
    await Promise.all(some.map((_, offset) => signIn(start + offset)));
  }

  return {
    /** All lanes, each again and again until it is stopped; a lane ends at its first failure. */
    run(kind: FlowKind) {
      let isStopping = false;
      let times: number[] = [];
      let failures = 0;
      const ended = Promise.all(
        lanes.map(async (lane) => {
          try {
            while (!isStopping) {
              const startedAt = performance.now();
              await steps[kind](lane);
              times.push(performance.now() - startedAt);
            }
          } catch (error) {
            failures += 1;
            process.stderr.write(`${kind}: ${error}\n`);
          }
        }),
      );
      return {
        mark() {
          times = [];
        },
        async stop(): Promise<LoadResult> {
          const measured = times.slice();
          isStopping = true;
          await ended;
          return { responses: measured.length, failures, medianMs: median(measured) };
        },
      };
    },
  };
}

function keepCookie(cookies: Map<string, string>, line: string): void {
  const pair = line.split(';', 1)[0] ?? '';
  const [name, value] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)];
  if (value === '') cookies.delete(name);
  else cookies.set(name, value);
}

async function json<Member extends string>(response: Response): Promise<Record<Member, string>> {
  if (response.status !== 200) throw new Error(`${response.status} ${response.body}`);
  return JSON.parse(response.body);
}

function send(
  address: string,
  path: string,
  options: { agent: Agent; headers?: Record<string, string>; form?: Record<string, string> },
): Promise<Response> {
  const body = options.form && new URLSearchParams(options.form).toString();
  const headers = {
    ...options.headers,
    ...(body === undefined
      ? undefined
      : { 'content-type': 'application/x-www-form-urlencoded', 'content-length': String(Buffer.byteLength(body)) }),
  };
  return new Promise((resolve, reject) => {
    const method = body === undefined ? 'GET' : 'POST';
    const sent = request(new URL(path, address), { agent: options.agent, method, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }));
      response.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
