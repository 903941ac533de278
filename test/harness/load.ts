/** Demo clients at work on one or several nodes, and a ledger of what they were promised. */
import { demoClients } from '../../src/playground/demo-data.ts';
import { type Answer, clientCredentials, post, refresh, revoke } from './token-requests.ts';
import { isUnavailable } from './unavailable.ts';

const SERVICE = demoClients.service;
const FORMATS = [
  { scope: 'files:read', resource: 'urn:demo:files' },
  { scope: 'notes:read', resource: 'urn:demo:notes' },
] as const;
const AT_ONCE = 20;

type Phase = 'before' | 'outage' | 'afterwards';

/** What is wrong with an answer to a valid request; undefined where it is 200, or an honest 503. */
function faultOf(answer: Answer): string | undefined {
  const { status, body, headers } = answer;
  return status === 200 || isUnavailable(answer)
    ? undefined
    : `${status} ${JSON.stringify(body)} retry-after ${headers.get('retry-after')}`;
}

/**
 * Clients that issue, introspect, refresh and revoke as fast as they can, each request at the next node, and note what
 * they were promised.
 *
 * @param options.refreshTokens of the demo's public client: each is one more loop, which refreshes and tries again where
 *   it got no token
 * @param options.revokesJwts whether JWTs are given back, too
 */
export function startLoad(options: {
  nodes: readonly string[];
  loops: number;
  refreshTokens?: readonly string[];
  revokesJwts?: boolean;
}) {
  const { nodes, loops: serviceLoops, refreshTokens = [], revokesJwts = false } = options;
  const loopCount = serviceLoops + refreshTokens.length;
  const wrong: string[] = [];
  /** Tokens that were issued, and are not known to be revoked nor maybe. */
  const live = new Set<string>();
  const revoked = new Set<string>();
  /** The newest refresh token of each chain. */
  const chains = [...refreshTokens];
  let phase: Phase = 'before';
  let isOver = false;
  const good = Array.from({ length: loopCount }, () => ({ before: 0, outage: 0, afterwards: 0 }));
  const honest = Array.from({ length: loopCount }, () => 0);
  let turns = 0;
  const nextNode = () => {
    turns += 1;
    return nodes[turns % nodes.length] ?? '';
  };

  async function ask(loop: number, what: string, request: Promise<Answer>): Promise<Answer | undefined> {
    const answer = await request.catch((error: unknown) => {
      wrong.push(`${what}: no answer: ${error}`);
      return undefined;
    });
    if (answer === undefined) return undefined;
    const fault = faultOf(answer);
    if (fault !== undefined) wrong.push(`${what}: ${fault}`);
    const counts = good[loop];
    if (answer.status === 200 && counts !== undefined) counts[phase] += 1;
    if (answer.status === 503) honest[loop] = (honest[loop] ?? 0) + 1;
    return answer.status === 200 ? answer : undefined;
  }

  async function verdict(loop: number, token: string, isActive: boolean): Promise<void> {
    const answer = await ask(loop, 'introspect', post(`${nextNode()}/introspect`, SERVICE, { token }));
    if (answer !== undefined && answer.body.active !== isActive) {
      wrong.push(`a token that is ${isActive ? 'live' : 'revoked'} was said to be active: ${answer.body.active}`);
    }
  }

  async function serve(loop: number): Promise<void> {
    const mine: string[] = [];
    for (let turn = 0; !isOver; turn += 1) {
      const format = FORMATS[turn % FORMATS.length] ?? FORMATS[0];
      const issued = await ask(loop, 'token', clientCredentials(nextNode(), SERVICE, format));
      if (issued !== undefined) {
        const token = String(issued.body.access_token);
        live.add(token);
        mine.push(token);
      }
      const known = mine[Math.floor(Math.random() * mine.length)];
      if (known !== undefined) await verdict(loop, known, true);
      const given = mine.findIndex((token) => revokesJwts || token.split('.').length === 1);
      if (turn % 3 !== 2 || given === -1) continue;
      const [token = ''] = mine.splice(given, 1);
      live.delete(token);
      const node = nextNode();
      // After a 503 it may be revoked or not: nobody was told.
      if ((await ask(loop, 'revoke', revoke(node, SERVICE, token))) === undefined) continue;
      revoked.add(token);
      // At the same node: the others hear of it in a moment.
      const answer = await ask(loop, 'introspect', post(`${node}/introspect`, SERVICE, { token }));
      if (answer?.body.active === true) wrong.push('a token that was revoked was said to be active');
    }
  }

  async function keepFresh(loop: number, chain: number): Promise<void> {
    while (!isOver) {
      const client = { id: demoClients.native.id, secret: '' };
      const answer = await ask(loop, 'refresh', refresh(nextNode(), client, chains[chain]));
      if (answer !== undefined) chains[chain] = String(answer.body.refresh_token);
    }
  }

  const running = Array.from({ length: loopCount }, (_, loop) =>
    loop < serviceLoops ? serve(loop) : keepFresh(loop, loop - serviceLoops),
  );
  return {
    wrong,
    live,
    revoked,
    chains,
    enter(next: Phase) {
      phase = next;
    },
    every: (count: number) => good.every((counts) => counts[phase] >= count),
    everyHeard503: () => honest.every((count) => count > 0),
    someHeard503: () => honest.some((count) => count > 0),
    async stop() {
      isOver = true;
      await Promise.all(running);
    },
  };
}

/** Introspects many tokens at every node. @returns the answers for those whose state is not what it should be */
export async function notAsPromised(
  nodes: readonly string[],
  tokens: Iterable<string>,
  isActive: boolean,
): Promise<unknown[]> {
  const waiting = [...tokens].flatMap((token) => nodes.map((node) => ({ node, token })));
  const odd: unknown[] = [];
  const work = async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const { status, body } = await post(`${next.node}/introspect`, SERVICE, { token: next.token });
      if (status !== 200 || body.active !== isActive) odd.push([status, body]);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return odd;
}
