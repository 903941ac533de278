/**
 * Owns the playground, the first page in development, and the demo data that it works with: a client of this server like
 * any other, which shows a developer every token and every answer. Refuses to be there in production, where it is not
 * mounted and its data stop the start; to reach around the protocol: it knows the server by its issuer alone; and to
 * keep a token anywhere but in memory.
 */
export { demoClients, demoSignIn } from './demo-data.ts';
export { demoDataFaults } from './demo-data-faults.ts';
export { playgroundOfOneProcess } from './playground-of-one-process.ts';
export { playgroundRoutes } from './playground-routes.ts';
export { seedDemoData } from './seed-demo-data.ts';
export { settleDemoData } from './settle-demo-data.ts';
