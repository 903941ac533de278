import { resourceServerContract } from './resource-server-contract.ts';
import { walkthrough } from './walkthrough.ts';

resourceServerContract({
  name: 'flask',
  install: [
    ['python3', '-m', 'venv', '.venv'],
    ['.venv/bin/pip', 'install', '--quiet', '--require-hashes', '-r', 'requirements.txt'],
  ],
  command: ['.venv/bin/gunicorn', 'app:app'],
});
walkthrough('examples/flask/README.md');
walkthrough('docs/guides/flask.md');
