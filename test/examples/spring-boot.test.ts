import { resourceServerContract } from './resource-server-contract.ts';
import { walkthrough } from './walkthrough.ts';

resourceServerContract({
  name: 'spring-boot',
  install: [['mvn', '--quiet', '--batch-mode', '-DskipTests', 'package']],
  command: ['java', '-Xmx128m', '-XX:TieredStopAtLevel=1', '-jar', 'target/notes.jar'],
});
walkthrough('examples/spring-boot/README.md');
walkthrough('docs/guides/spring-boot.md');
