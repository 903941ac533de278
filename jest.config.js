/** Tests run the TypeScript sources as ES modules; each worker has a PostgreSQL database of its own (test/harness). */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  // One has databases of its own, npm run test:failover; the other installs its own dependencies, npm run test:examples.
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/test/failover/', '<rootDir>/test/examples/'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: { target: 'es2024', parser: { syntax: 'typescript' }, experimental: { keepImportAttributes: true } },
        module: { type: 'es6' },
      },
    ],
  },
  globalSetup: '<rootDir>/test/harness/global-setup.ts',
  globalTeardown: '<rootDir>/test/harness/global-teardown.ts',
  // Two on two cores; Jest's default leaves one core to itself.
  maxWorkers: '100%',
  testTimeout: 60_000,
};
