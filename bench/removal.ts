import { type Issued, loadArtifacts } from './bulk-load.ts';
import type { Row } from './comparisons.ts';
import { failuresOf, measureWindow, ratios, type Window } from './measure.ts';
import type { Options } from './options.ts';
import { SCOPES, withConnection } from './registry.ts';
import { clientToken, type Owners } from './seeded-artifacts.ts';
import type { Stage } from './stage.ts';
import { judge, median } from './statistics.ts';

const HOUR_MS = 3_600_000;
/** A million rows must be gone within a minute. */
const LEAST_PER_SECOND = 1_000_000 / 60;
const LIFETIME_SECONDS = 600;
/** Beyond the lifetime: tolerance and rounding of the time at which a row may go, with room. */
const DUE_AFTER_MS = HOUR_MS / 2;

/**
 * Issuing while expired rows are removed, as the scheduled sweep does it in the server's own process, and without. Each
 * round has its part of the rows, which falls due by its own clock, and lasts until that part is gone.
 */
export async function removal(stage: Stage, options: Options): Promise<Row[]> {
  const url = await stage.copyDatabase('bench_removal');
  const firstAt = Date.now() - (options.rounds + 1) * HOUR_MS;
  const perRound = Math.ceil(options.expiredRows / options.rounds);
  const expired = expiredTokens(options.rounds, perRound, firstAt, stage.registry);
  await withConnection(url, (connection) => loadArtifacts(connection, expired));
  const server = await stage.server('removing', { url });
  const scenario = { kind: 'client-credentials', scope: SCOPES.opaque } as const;
  const contestant = { name: 'removing', server, scenario };

  const quiet: Window[] = [];
  const disturbed: Window[] = [];
  let removed = 0;
  let sweepingMs = 0;
  const sweep = async (round: number) => {
    const startedAt = performance.now();
    removed += await server.ask('sweep', firstAt + round * HOUR_MS + DUE_AFTER_MS);
    sweepingMs += performance.now() - startedAt;
  };
  await measureWindow(stage.load, contestant, options.warmUpSeconds);
  for (let round = 0; round < options.rounds; round += 1) {
    const measureDisturbed = async () => {
      disturbed.push(await measureWindow(stage.load, contestant, () => sweep(round)));
    };
    if (round % 2 === 0) await measureDisturbed();
    quiet.push(await measureWindow(stage.load, contestant, options.seconds));
    if (round % 2 === 1) await measureDisturbed();
  }
  const rate = (window: Window) => window.perSecond;
  const perSecond = (removed * 1_000) / sweepingMs;
  const count = options.expiredRows.toLocaleString('en');
  const objection =
    removed !== perRound * options.rounds
      ? `${removed} rows were removed`
      : perSecond < LEAST_PER_SECOND
        ? `a million rows would take ${Math.round(1_000_000 / perSecond)} s`
        : undefined;
  return [
    {
      ...judge(`issuing while ${count} expired rows are removed (without)`, ratios(disturbed, quiet, rate), {
        atLeast: 0.85,
      }),
      ours: `${Math.round(median(disturbed.map(rate)))}/s, removed in ${(sweepingMs / 1_000).toFixed(1)} s`,
      peer: `${Math.round(median(quiet.map(rate)))}/s`,
      failures: failuresOf(quiet, disturbed),
      objection,
    },
  ];
}

function* expiredTokens(rounds: number, perRound: number, firstAt: number, owners: Owners): Generator<Issued> {
  for (let round = 0; round < rounds; round += 1) {
    const at = firstAt + round * HOUR_MS;
    for (let number = round * perRound; number < (round + 1) * perRound; number += 1) {
      yield { artifact: clientToken(number, owners, { at, lifetimeSeconds: LIFETIME_SECONDS }), at };
    }
  }
}
