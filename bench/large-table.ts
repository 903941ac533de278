import { type Issued, loadArtifacts } from './bulk-load.ts';
import type { Row } from './comparisons.ts';
import { failuresOf, measureRounds, ratios, type Window } from './measure.ts';
import type { Options } from './options.ts';
import { withConnection } from './registry.ts';
import { accessToken, grant, type Owners } from './seeded-artifacts.ts';
import { type Stage, TOKENS } from './stage.ts';
import { judge, median } from './statistics.ts';

/** As where a person's app refreshes a few times a day: several tokens hang on one grant. */
const TOKENS_PER_GRANT = 10;

/** Introspection, hot cache off, of tokens drawn evenly from a large table and from one of ten thousand. */
export async function rows(stage: Stage, options: Options): Promise<Row[]> {
  const contestants = [];
  for (const [name, tokens] of [
    ['large', options.rows],
    ['small', TOKENS],
  ] as const) {
    const url = await stage.copyDatabase(`bench_${name}`);
    await withConnection(url, (connection) => loadArtifacts(connection, peoplesTokens(tokens, stage.registry)));
    const server = await stage.server(name, { url });
    const scenario = { kind: 'introspection', tokens, tokensPerGrant: TOKENS_PER_GRANT } as const;
    contestants.push({ name, server, scenario });
  }
  const { large, small } = await measureRounds(stage.load, contestants, options);
  const latency = (window: Window) => window.medianMs;
  const milliseconds = (windows: readonly Window[]) => `${median(windows.map(latency)).toFixed(1)} ms`;
  const count = options.rows.toLocaleString('en');
  return [
    {
      ...judge(
        `introspection median with ${count} live tokens, hot cache off (10 thousand)`,
        ratios(large, small, latency),
        { atMost: 1.2 },
      ),
      ours: milliseconds(large),
      peer: milliseconds(small),
      failures: failuresOf(large, small),
    },
  ];
}

function* peoplesTokens(count: number, owners: Owners): Generator<Issued> {
  const at = Date.now();
  for (let number = 0; number < count; number += 1) {
    const grantNumber = Math.floor(number / TOKENS_PER_GRANT);
    if (number % TOKENS_PER_GRANT === 0) yield { artifact: grant(grantNumber, owners), at };
    yield { artifact: accessToken(number, grantNumber, owners), at };
  }
}
