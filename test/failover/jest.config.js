import base from '../../jest.config.js';

/** Apart from the other tests: it kills databases for a minute, and brings its own. */
export default {
  ...base,
  rootDir: '../..',
  roots: ['<rootDir>/test/failover'],
  testPathIgnorePatterns: ['/node_modules/'],
  globalSetup: undefined,
  globalTeardown: undefined,
  maxWorkers: 1,
};
