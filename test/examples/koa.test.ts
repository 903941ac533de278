import { nodeExample } from './example-program.ts';
import { issuerKeysContract } from './issuer-keys-contract.ts';
import { resourceServerContract } from './resource-server-contract.ts';
import { walkthrough } from './walkthrough.ts';

const example = nodeExample('koa');
resourceServerContract(example);
issuerKeysContract(example);
walkthrough('examples/koa/README.md');
walkthrough('docs/guides/koa.md');
