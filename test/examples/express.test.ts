import { nodeExample } from './example-program.ts';
import { resourceServerContract } from './resource-server-contract.ts';
import { walkthrough } from './walkthrough.ts';

resourceServerContract(nodeExample('express'));
walkthrough('examples/express/README.md');
walkthrough('docs/guides/express.md');
