/** `npm run bench`: measures the server against its peers and says whether every row reaches its goal. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { apiKeys } from './api-keys.ts';
import { clientCredentials, flows, introspection, jwt, type Row } from './comparisons.ts';
import { rows } from './large-table.ts';
import { memory } from './memory.ts';
import { type Group, HELP, type Options, readOptions } from './options.ts';
import { profile } from './profile.ts';
import { withConnection } from './registry.ts';
import { removal } from './removal.ts';
import { describeMachine, intoDocument, succeeds, toJson, toMarkdown, toTable } from './report.ts';
import { openStage, type Stage } from './stage.ts';

const measurements: Record<Group, (stage: Stage, options: Options) => Promise<Row[]>> = {
  'client-credentials': clientCredentials,
  introspection,
  'api-keys': apiKeys,
  flows,
  jwt,
  rows,
  removal,
  memory,
};

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) return say(HELP);
  const startedAt = performance.now();
  const stage = await openStage();
  try {
    const machine = describeMachine(await describePostgres(stage.url));
    say(`${machine}\n`);
    if (options.profileFolder !== undefined) return say(await profile(stage, options.profileFolder));
    const all: Row[] = [];
    for (const group of options.groups) {
      const measured = await measurements[group](stage, options);
      all.push(...measured);
      say(`${Math.round((performance.now() - startedAt) / 1_000)} s\n${toTable(measured)}\n`);
    }
    say(`${toTable(all)}\n`);
    if (options.jsonFile !== undefined) writeFileSync(options.jsonFile, toJson(all));
    if (options.markdownFile !== undefined) {
      const { markdownFile } = options;
      const document = existsSync(markdownFile) ? readFileSync(markdownFile, 'utf8') : undefined;
      writeFileSync(markdownFile, intoDocument(document, `${toMarkdown(all)}\n\n${machine}.`));
    }
    if (!all.every(succeeds)) process.exitCode = 1;
  } finally {
    await stage.close();
  }
}

async function describePostgres(url: string): Promise<string> {
  return withConnection(url, async (connection) => {
    const { rows } = await connection.query<Record<string, string>>(
      `select current_setting('server_version') as version, current_setting('fsync') as fsync,
         current_setting('synchronous_commit') as synchronous_commit, current_setting('shared_buffers') as shared_buffers`,
    );
    const { version, ...settings } = rows[0] ?? {};
    return `PostgreSQL ${version} (${Object.entries(settings)
      .map((setting) => setting.join(' '))
      .join(', ')})`;
  });
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

await main();
