import { nodeExample } from './example-program.ts';
import { resourceServerContract } from './resource-server-contract.ts';

resourceServerContract(nodeExample('express'));
