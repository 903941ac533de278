import { createMemoryArtifactStore } from '../../../src/tokens/index.ts';
import { artifactStoreContract } from '../../contracts/artifact-store-contract.ts';

artifactStoreContract('in memory', (clock) => createMemoryArtifactStore({ clock }));
