import { nodeExample } from './example-program.ts';
import { resourceServerContract } from './resource-server-contract.ts';
import { walkthrough } from './walkthrough.ts';

resourceServerContract(nodeExample('koa'));
walkthrough('examples/koa/README.md');
walkthrough('docs/guides/koa.md');
