import type { Context } from 'koa';
import { explainFailure } from './explain-failure.ts';
import { playgroundRunPage } from './playground-pages.ts';
import type { PlaygroundParts } from './playground-parts.ts';
import type { Failure, RunKind } from './playground-sessions.ts';
import { presentRun } from './present-run.ts';

/** What became of the last flow of this kind in this browser; of nobody else's. */
export function showRun(
  kind: RunKind,
  context: Context,
  { issuer, clock, csrf, pages, sessions }: PlaygroundParts,
): void {
  const { run, failure } = sessions.find(context)?.runs.get(kind) ?? {};
  const model = {
    kind,
    csrfToken: csrf.token(context),
    run: run && presentRun(kind, run, { issuer, now: clock() }),
    failure: failure && explainFailure(failure),
  };
  pages.show(context, playgroundRunPage(model), 'en');
}

/** A failure that belongs to no flow of this browser, and so leaves no trace in it. */
export function showFailure(
  kind: RunKind,
  failure: Failure,
  context: Context,
  { csrf, pages }: Pick<PlaygroundParts, 'csrf' | 'pages'>,
): void {
  context.status = 400;
  const model = { kind, csrfToken: csrf.token(context), failure: explainFailure(failure) };
  pages.show(context, playgroundRunPage(model), 'en');
}
