import { parseArgs } from 'node:util';

/** The groups of rows, in the order in which they are measured; `--only` takes their names. */
export const GROUPS = [
  'client-credentials',
  'introspection',
  'api-keys',
  'flows',
  'jwt',
  'rows',
  'removal',
  'memory',
] as const;
export type Group = (typeof GROUPS)[number];

export type Options = Readonly<{
  groups: readonly Group[];
  rounds: number;
  /** Of one window. */
  seconds: number;
  warmUpSeconds: number;
  /** Live tokens in the large table. */
  rows: number;
  /** Rows that expire at once. */
  expiredRows: number;
  /** Requests to each server whose memory is watched. */
  memoryRequests: number;
  jsonFile: string | undefined;
  markdownFile: string | undefined;
  profileFolder: string | undefined;
}>;

export const HELP = `npm run bench -- [options]

  --quick            the whole in under two minutes: shorter windows, fewer rows and requests
  --only GROUP       ${GROUPS.join(', ')}; may be repeated
  --rounds N         interleaved rounds per comparison (7 at least for a result that counts)
  --seconds S        length of one window
  --rows N           live tokens in the large table (10000000: about 20 minutes, 15 GB below the temporary folder)
  --requests N       to each server whose memory is watched
  --json FILE        writes [{"row","ratio","low","high","goal","atMost"}]
  --markdown FILE    writes the table and the machine; into its place in docs/performance.md, where FILE is that
  --profile FOLDER   where one server's time goes, instead of comparisons; writes .cpuprofile files there

PostgreSQL is its own, below the temporary folder (TMPDIR), and goes with the run.
`;

const FULL = { rounds: 7, seconds: 1.2, warmUpSeconds: 3, rows: 500_000, expired: 1_000_000, memory: 1_000_000 };
const QUICK = { rounds: 7, seconds: 0.3, warmUpSeconds: 0.6, rows: 50_000, expired: 50_000, memory: 20_000 };

/** @returns undefined where help is asked for. @throws where an option is not understood */
export function readOptions(args: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      help: { type: 'boolean' },
      quick: { type: 'boolean' },
      only: { type: 'string', multiple: true },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      rows: { type: 'string' },
      requests: { type: 'string' },
      json: { type: 'string' },
      markdown: { type: 'string' },
      profile: { type: 'string' },
    },
  });
  if (values.help) return undefined;
  const base = values.quick ? QUICK : FULL;
  return Object.freeze({
    groups: values.only?.map(toGroup) ?? GROUPS,
    rounds: whole('--rounds', values.rounds) ?? base.rounds,
    seconds: positive('--seconds', values.seconds) ?? base.seconds,
    warmUpSeconds: base.warmUpSeconds,
    rows: whole('--rows', values.rows) ?? base.rows,
    expiredRows: base.expired,
    memoryRequests: whole('--requests', values.requests) ?? base.memory,
    jsonFile: values.json,
    markdownFile: values.markdown,
    profileFolder: values.profile,
  });
}

function toGroup(name: string): Group {
  const group = GROUPS.find((known) => known === name);
  if (group === undefined) throw new Error(`--only wants one of ${GROUPS.join(', ')}`);
  return group;
}

function whole(name: string, value: string | undefined): number | undefined {
  const number = positive(name, value);
  if (number !== undefined && !Number.isInteger(number)) throw new Error(`${name} wants a whole number`);
  return number;
}

function positive(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const number = Number(value);
  if (!(number > 0)) throw new Error(`${name} wants a number above 0`);
  return number;
}
