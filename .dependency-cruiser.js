const ground = ['config', 'telemetry', 'database'];
const domainRooms = ['audit', 'accounts', 'clients', 'keys', 'tokens', 'api-keys', 'limits'];
const ofDomain = [...ground, 'audit'];

/** The rooms of src/ and who may import whom (docs/architecture.md). Each line lists what a room may reach beside itself. */
const rooms = {
  config: ['errors', 'defaults'],
  telemetry: ['config'],
  workers: ['config', 'telemetry'],
  database: ['config', 'telemetry'],
  audit: ground,
  accounts: ofDomain,
  clients: ofDomain,
  keys: ofDomain,
  tokens: ofDomain,
  'api-keys': ofDomain,
  limits: ofDomain,
  oidc: [...ground, ...domainRooms],
  http: [...ground, ...domainRooms, 'oidc'],
  interactions: [...ground, ...domainRooms, 'oidc', 'http'],
  playground: [...ground, 'clients', 'oidc', 'http'],
  jobs: [...ground, ...domainRooms, 'oidc', 'http'],
  cli: [...ground, ...domainRooms.filter((room) => room !== 'limits'), 'compose', 'main'],
};
const domains = `^src/(${domainRooms.join('|')})/`;

const roomRules = Object.entries(rooms).map(([room, reachable]) => ({
  name: `${room}-imports-only-what-lies-before-it`,
  severity: 'error',
  from: { path: `^src/${room}/` },
  to: {
    path: '^(src|config)/',
    pathNot: [
      `^src/${room}/`,
      '^src/(errors|roles)\\.ts$',
      ...reachable.map((name) => (name === 'defaults' ? '^config/' : `^src/${name}(/|\\.ts$)`)),
    ],
  },
}));

export default {
  forbidden: [
    ...roomRules,
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'index-is-the-only-door',
      severity: 'error',
      from: { path: '^src/([^/]+)/' },
      to: {
        path: '^src/[^/]+/.+',
        pathNot: ['^src/$1/', '^src/[^/]+/index\\.ts$', '^src/database/embedded/index\\.ts$'],
      },
    },
    {
      name: 'the-bench-comes-by-the-doors',
      severity: 'error',
      from: { path: '^bench/' },
      to: {
        path: '^src/[^/]+/.+',
        pathNot: ['^src/[^/]+/index\\.ts$', '^src/database/embedded/index\\.ts$'],
      },
    },
    {
      name: 'only-oidc-imports-oidc-provider',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/oidc/' },
      to: { path: 'node_modules/(@types/)?oidc-provider' },
    },
    { name: 'domains-know-no-koa', severity: 'error', from: { path: domains }, to: { path: 'node_modules/@?koa' } },
    {
      name: 'only-stores-know-sql',
      severity: 'error',
      from: {
        path: '^src/',
        pathNot: ['^src/database/', '-store\\.ts$'],
      },
      to: { path: 'node_modules/(pg|knex)/', dependencyTypesNot: ['type-only'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
};
