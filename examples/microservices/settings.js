/** A setting that has no default. */
export function required(name) {
  const value = process.env[name];
  if (value) return value;
  console.error(`${name} is not set`);
  process.exit(1);
}

/** Where Tessera is, as it calls itself. Without TLS tokens are anybody's on the way: http is for this machine, as in development. */
export const issuer = new URL(required('ISSUER'));
const isOnThisMachine = issuer.protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(issuer.hostname);
if (issuer.protocol !== 'https:' && !isOnThisMachine) {
  console.error('ISSUER wants https, unless it is on this machine');
  process.exit(1);
}

/** The three as they are registered, and where each is called. A token is for one of them alone. */
export const services = {
  gateway: {
    audience: process.env.GATEWAY_AUDIENCE ?? 'urn:shop:gateway',
    url: process.env.GATEWAY_URL ?? 'http://localhost:4000',
  },
  orders: { audience: 'urn:shop:orders', url: process.env.ORDERS_URL ?? 'http://localhost:4001' },
  stock: { audience: 'urn:shop:stock', url: process.env.STOCK_URL ?? 'http://localhost:4002' },
};

/** How long before its end a token is no longer sent: as long as a request takes on its way, and then some. */
export const renewBeforeSeconds = Number(process.env.RENEW_BEFORE_SECONDS ?? 30);
