/** The rows in which one server stands against another, round by round. */
import { defaults } from '../config/defaults.ts';
import { failuresOf, measureRounds, ratios, type Window } from './measure.ts';
import type { Options } from './options.ts';
import { SCOPES } from './registry.ts';
import { type Stage, TOKENS } from './stage.ts';
import { judge, median, type Verdict } from './statistics.ts';

/** A row of the result with what stands behind its ratio. */
export type Row = Verdict &
  Readonly<{
    ours: string;
    peer: string;
    /** Answers that were not what they must be. */
    failures: number;
    /** Why it fails whatever its ratio is. */
    objection?: string | undefined;
  }>;

export const rate = (window: Window) => window.perSecond;
const cpu = (window: Window) => window.cpuMicros;

export function perSecond(windows: readonly Window[], share = 1): string {
  return `${Math.round(median(windows.map(rate)) * share)}/s`;
}

function micros(windows: readonly Window[]): string {
  return `${Math.round(median(windows.map(cpu)))} µs`;
}

/** Opaque tokens by client credentials: to the ceiling, to plain knex. */
export async function clientCredentials(stage: Stage, options: Options): Promise<Row[]> {
  const scenario = { kind: 'client-credentials', scope: SCOPES.opaque } as const;
  const windows = await measureRounds(
    stage.load,
    [
      { name: 'ours', server: await stage.server('ours', { isSeeded: true }), scenario },
      { name: 'map', server: await stage.server('map', { adapter: 'map', isSeeded: true }), scenario },
      { name: 'knex', server: await stage.server('knex', { adapter: 'knex', isSeeded: true }), scenario },
    ],
    options,
  );
  const { ours, map, knex } = windows;
  const name = 'client credentials, opaque, durable';
  return [
    {
      ...judge(`${name} (ceiling)`, ratios(ours, map, rate), { atLeast: 0.85 }),
      ours: perSecond(ours),
      peer: perSecond(map),
      failures: failuresOf(ours, map),
    },
    {
      ...judge(`${name} (plain knex)`, ratios(ours, knex, rate), { atLeast: 1.6 }),
      ours: perSecond(ours),
      peer: perSecond(knex),
      failures: failuresOf(ours, knex),
    },
  ];
}

/** Introspection of people's opaque tokens, without and with the hot cache. */
export async function introspection(stage: Stage, options: Options): Promise<Row[]> {
  const scenario = { kind: 'introspection', tokens: TOKENS, tokensPerGrant: 1 } as const;
  const environment = { TOKEN_CACHE_SIZE: defaults.TOKEN_CACHE_SIZE };
  const { ours, cached, map, knex } = await measureRounds(
    stage.load,
    [
      { name: 'ours', server: await stage.server('ours', { isSeeded: true }), scenario },
      { name: 'cached', server: await stage.server('cached', { environment, isSeeded: true }), scenario },
      { name: 'map', server: await stage.server('map', { adapter: 'map', isSeeded: true }), scenario },
      { name: 'knex', server: await stage.server('knex', { adapter: 'knex', isSeeded: true }), scenario },
    ],
    options,
  );
  const name = 'introspection';
  const statements = (windows: readonly Window[]) => median(windows.map((window) => window.statements)).toFixed(2);
  return [
    {
      ...judge(`${name}, no token cache (ceiling)`, ratios(ours, map, rate), { atLeast: 0.9 }),
      ours: `${perSecond(ours)}, ${statements(ours)} statements each`,
      peer: perSecond(map),
      failures: failuresOf(ours, map),
    },
    {
      ...judge(`${name}, no token cache (plain knex)`, ratios(ours, knex, rate), { atLeast: 3 }),
      ours: perSecond(ours),
      peer: perSecond(knex),
      failures: failuresOf(ours, knex),
    },
    {
      ...judge(`${name}, hot cache on (ceiling)`, ratios(cached, map, rate), { atLeast: 0.95 }),
      ours: `${perSecond(cached)}, ${statements(cached)} statements each`,
      peer: perSecond(map),
      failures: failuresOf(cached, map),
    },
    {
      ...judge(`server CPU per ${name}, no token cache (ceiling)`, ratios(ours, map, cpu), { atMost: 1.1 }),
      ours: micros(ours),
      peer: micros(map),
      failures: failuresOf(ours, map),
    },
  ];
}

/** Requests of one code flow: authorize, token, userinfo. */
const REQUESTS_PER_FLOW = 3;

/** What people's apps do: the code flow with a session, and refreshing. */
export async function flows(stage: Stage, options: Options): Promise<Row[]> {
  const servers = {
    ours: await stage.server('ours', { isSeeded: true }),
    knex: await stage.server('knex', { adapter: 'knex', isSeeded: true }),
  };
  // One after the other: the second is then spared the consent, which both share.
  for (const server of Object.values(servers)) await stage.load.ask('signIn', await server.ask('address'));
  const rows: Row[] = [];
  for (const kind of ['code-flow', 'refresh'] as const) {
    const scenario = { kind };
    const contestants = (['ours', 'knex'] as const).map((name) => ({ name, server: servers[name], scenario }));
    const { ours, knex } = await measureRounds(stage.load, contestants, options);
    const share = kind === 'code-flow' ? 1 / REQUESTS_PER_FLOW : 1;
    rows.push({
      ...judge(
        kind === 'code-flow' ? 'full code flow (plain knex)' : 'refresh (plain knex)',
        ratios(ours, knex, rate),
        {
          atLeast: 1.3,
        },
      ),
      ours: perSecond(ours, share),
      peer: perSecond(knex, share),
      failures: failuresOf(ours, knex),
    });
  }
  return rows;
}

/** CPU per JWT by client credentials, by algorithm. */
export async function jwt(stage: Stage, options: Options): Promise<Row[]> {
  const server = await stage.server('ours', { isSeeded: true });
  const { es256, rs256 } = await measureRounds(
    stage.load,
    (['es256', 'rs256'] as const).map((name) => ({
      name,
      server,
      scenario: { kind: 'client-credentials', scope: SCOPES[name] } as const,
    })),
    options,
  );
  return [
    {
      ...judge('CPU per ES256 JWT by client credentials (per RS256 JWT)', ratios(es256, rs256, cpu), { atMost: 0.7 }),
      ours: micros(es256),
      peer: micros(rs256),
      failures: failuresOf(es256, rs256),
    },
  ];
}
