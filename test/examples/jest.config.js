import base from '../../jest.config.js';

/** Apart from the other tests: it installs what each example wants, and some want more than Node. */
export default {
  ...base,
  rootDir: '../..',
  roots: ['<rootDir>/test/examples'],
  testPathIgnorePatterns: ['/node_modules/'],
};
