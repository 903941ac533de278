/** The rows in which API keys stand against what they are used in the place of, on one server. */
import { defaults } from '../config/defaults.ts';
import { perSecond, type Row, rate } from './comparisons.ts';
import type { Scenario } from './load.ts';
import { failuresOf, measureRounds, ratios } from './measure.ts';
import type { Options } from './options.ts';
import { SCOPES } from './registry.ts';
import { type Stage, TOKENS } from './stage.ts';
import { judge } from './statistics.ts';

/** Both sides are one server, so that less time tells as much as elsewhere; it has met all clients and keys in the first warm-up. */
const SHARE_OF_TIME = 0.5;

/** Introspection and tokens by API key: to an opaque token in the hot cache, to a client's own credentials. */
export async function apiKeys(stage: Stage, options: Options): Promise<Row[]> {
  const environment = { TOKEN_CACHE_SIZE: defaults.TOKEN_CACHE_SIZE };
  const server = await stage.server('cached', { environment, isSeeded: true });
  const windows = { ...options, seconds: options.seconds * SHARE_OF_TIME };
  const warm = { ...windows, warmUpSeconds: options.warmUpSeconds * SHARE_OF_TIME };

  async function compare(
    row: string,
    goal: number,
    [byKey, otherwise]: [Scenario, Scenario],
    length: typeof windows,
  ): Promise<Row> {
    const contestants = [
      { name: 'ours', server, scenario: byKey },
      { name: 'peer', server, scenario: otherwise },
    ] as const;
    const { ours, peer } = await measureRounds(stage.load, contestants, length);
    return {
      ...judge(row, ratios(ours, peer, rate), { atLeast: goal }),
      ours: perSecond(ours),
      peer: perSecond(peer),
      failures: failuresOf(ours, peer),
    };
  }

  return [
    await compare(
      'introspection of an API key (opaque token, hot cache on)',
      0.95,
      [{ kind: 'api-key-introspection' }, { kind: 'introspection', tokens: TOKENS, tokensPerGrant: 1 }],
      windows,
    ),
    await compare(
      'token by API key (client credentials)',
      0.9,
      [
        { kind: 'api-key-credentials', scope: SCOPES.opaque },
        { kind: 'client-credentials', scope: SCOPES.opaque },
      ],
      warm,
    ),
  ];
}
