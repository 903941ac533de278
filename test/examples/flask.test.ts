import type { Example } from './example-program.ts';
import { issuerKeysContract } from './issuer-keys-contract.ts';
import { resourceServerContract } from './resource-server-contract.ts';
import { walkthrough } from './walkthrough.ts';

const flask: Example = {
  name: 'flask',
  install: [
    ['python3', '-m', 'venv', '.venv'],
    ['.venv/bin/pip', 'install', '--quiet', '--require-hashes', '-r', 'requirements.txt'],
  ],
  command: ['.venv/bin/gunicorn', 'app:app'],
};

resourceServerContract(flask);
issuerKeysContract(flask);
walkthrough('examples/flask/README.md');
walkthrough('docs/guides/flask.md');
