import { resourceServerContract } from './resource-server-contract.ts';

resourceServerContract({
  name: 'spring-boot',
  install: [['mvn', '--quiet', '--batch-mode', '-DskipTests', 'package']],
  command: ['java', '-Xmx128m', '-XX:TieredStopAtLevel=1', '-jar', 'target/notes.jar'],
});
