import type { Example } from './example-program.ts';
import { issuerKeysContract } from './issuer-keys-contract.ts';
import { resourceServerContract } from './resource-server-contract.ts';
import { walkthrough } from './walkthrough.ts';

const spring: Example = {
  name: 'spring-boot',
  install: [['mvn', '--quiet', '--batch-mode', '-DskipTests', 'package']],
  command: ['java', '-Xmx128m', '-XX:TieredStopAtLevel=1', '-jar', 'target/notes.jar'],
};

resourceServerContract(spring);
issuerKeysContract(spring);
walkthrough('examples/spring-boot/README.md');
walkthrough('docs/guides/spring-boot.md');
