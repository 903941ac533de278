import { fileURLToPath } from 'node:url';

/** For processes of this checkout: half of a short one's time is compiling, and the tests start dozens of them. */
export const NODE_COMPILE_CACHE = fileURLToPath(new URL('../../node_modules/.cache/compiled', import.meta.url));
