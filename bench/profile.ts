import { mkdirSync, writeFileSync } from 'node:fs';
import type { Profiler } from 'node:inspector/promises';
import { join } from 'node:path';
import type { Scenario } from './load.ts';
import { measureWindow } from './measure.ts';
import { SCOPES } from './registry.ts';
import { type Stage, TOKENS } from './stage.ts';

/** Which function each sample was in, and how long it lasted (microseconds). */
type Profile = Pick<Profiler.Profile, 'samples' | 'timeDeltas'> & {
  nodes: { id: number; callFrame: Pick<Profiler.ProfileNode['callFrame'], 'functionName' | 'url'> }[];
};

/** Time of its own, as a share of all time in which the process was busy. */
export type Share = { name: string; share: number };

const WARM_UP_SECONDS = 4;
const SECONDS = 10;
const FUNCTIONS = 20;
/** What a process does while it has nothing to do. */
const IDLE = ['(idle)', '(root)'];

const scenarios: Record<string, Scenario> = {
  introspection: { kind: 'introspection', tokens: TOKENS, tokensPerGrant: 1 },
  'client-credentials': { kind: 'client-credentials', scope: SCOPES.opaque },
};

/**
 * Where the time of the server's process goes once it is warm, for each kind of request, without the hot cache.
 *
 * @param folder gets a `.cpuprofile` of each, for the tools of a browser
 * @returns lines to print
 */
export async function profile(stage: Stage, folder: string): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const texts: string[] = [];
  for (const [name, scenario] of Object.entries(scenarios)) {
    const server = await stage.server(name, { isSeeded: true });
    const contestant = { name, server, scenario };
    await measureWindow(stage.load, contestant, WARM_UP_SECONDS);
    await server.ask('startProfile');
    const { perSecond, cpuMicros, statements } = await measureWindow(stage.load, contestant, SECONDS);
    const recorded = await server.ask('stopProfile');
    writeFileSync(join(folder, `${name}.cpuprofile`), JSON.stringify(recorded));
    const { packages, functions } = summarize(recorded);
    texts.push(
      `${name}: ${Math.round(perSecond)}/s, ${Math.round(cpuMicros)} µs of CPU and ${statements.toFixed(2)} statements each`,
      ...packages.filter(({ share }) => share >= 0.005).map(toLine),
      '  of which:',
      ...functions.slice(0, FUNCTIONS).map(toLine),
      '',
    );
  }
  return texts.join('\n');
}

/** Self time by package (a room of src, a package of node_modules, Node itself) and by function, largest first. */
export function summarize({ nodes, samples = [], timeDeltas = [] }: Profile): {
  packages: Share[];
  functions: Share[];
} {
  const byId = new Map(nodes.map((node) => [node.id, node.callFrame]));
  const packages = new Map<string, number>();
  const functions = new Map<string, number>();
  let total = 0;
  samples.forEach((id, index) => {
    const frame = byId.get(id);
    if (frame === undefined || IDLE.includes(frame.functionName)) return;
    const microseconds = timeDeltas[index] ?? 0;
    total += microseconds;
    const place = packageOf(frame);
    add(packages, place, microseconds);
    add(functions, `${frame.functionName || '(anonymous)'} (${place})`, microseconds);
  });
  const toShares = (times: Map<string, number>) =>
    [...times].map(([name, time]) => ({ name, share: time / total })).sort((a, b) => b.share - a.share);
  return { packages: toShares(packages), functions: toShares(functions) };
}

function packageOf({ functionName, url }: { functionName: string; url: string }): string {
  const installed = /node_modules\/((?:@[^/]+\/)?[^/]+)(?!.*node_modules\/)/.exec(url)?.[1];
  if (installed !== undefined) return installed;
  const own = /\/((?:src|bench)\/[^/]+?)(?:\.ts)?(?:\/|$)/.exec(url)?.[1];
  if (own !== undefined) return own;
  return functionName === '(garbage collector)' ? 'garbage collector' : 'node';
}

function add(times: Map<string, number>, name: string, time: number): void {
  times.set(name, (times.get(name) ?? 0) + time);
}

function toLine({ name, share }: Share): string {
  return `  ${(share * 100).toFixed(1).padStart(5)} %  ${name}`;
}
