import { artifactStoreContract } from '../../contracts/artifact-store-contract.ts';
import { createMemoryArtifactStore } from '../../contracts/memory-artifact-store.ts';

artifactStoreContract('in memory', (clock) => createMemoryArtifactStore({ clock }));
