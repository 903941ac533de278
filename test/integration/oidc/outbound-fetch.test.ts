import { type AddressInfo, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createOutboundFetch } from '../../../src/oidc/outbound-fetch.ts';
import { type KeyHost, serveJson, startKeyHost } from '../../harness/key-host.ts';

let host: KeyHost;
beforeAll(async () => {
  host = await startKeyHost(serveJson(() => ({ keys: [] })));
});
afterAll(() => host.close());

const inProduction = { allowsHttp: false, privateRanges: [] };
const inDevelopment = { allowsHttp: true, privateRanges: ['127.0.0.0/8', '::1'] };
const fetchInProduction = createOutboundFetch(inProduction);
const fetchInDevelopment = createOutboundFetch(inDevelopment);

describe('an address that is not public', () => {
  test.each([
    '127.0.0.1',
    '127.1.2.3',
    '0.0.0.0',
    '10.0.0.1',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '100.64.0.1',
    '169.254.169.254',
    '192.0.0.1',
    '192.0.2.1',
    '198.18.0.1',
    '198.51.100.1',
    '203.0.113.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    // The same in other clothes.
    '2130706433',
    '0x7f.1',
    '0177.0.0.1',
    '127.1',
    '[::1]',
    '[::]',
    '[::ffff:127.0.0.1]',
    '[::ffff:a9fe:a9fe]',
    '[::7f00:1]',
    '[64:ff9b::7f00:1]',
    '[64:ff9b:1::1]',
    '[2002:7f00:1::]',
    '[2001::1]',
    '[2001:db8::1]',
    '[fe80::1]',
    '[fec0::1]',
    '[fc00::1]',
    '[fd00:ec2::254]',
    '[ff02::1]',
    '[100::1]',
  ])('is refused as a literal: %s', async (address) => {
    await expect(fetchInProduction(`https://${address}/jwks`)).rejects.toThrow('is not a public address');
  });

  test('is refused behind a name, before anything is connected', async () => {
    const connectionsBefore = host.connections();
    const url = `https://localhost:${host.port}/`;
    await expect(fetchInProduction(url)).rejects.toThrow(/^localhost, at \S+ is not a public address/);
    await expect(fetchInProduction(`https://127.0.0.1:${host.port}/`)).rejects.toThrow('is not a public address');
    expect(host.connections()).toBe(connectionsBefore);
  });

  test('is refused where a name has public ones beside it', async () => {
    const both = [
      { address: '93.184.215.14', family: 4 },
      { address: '127.0.0.1', family: 4 },
    ];
    const connectionsBefore = host.connections();
    const fetchBoth = createOutboundFetch(inProduction, async () => both);
    await expect(fetchBoth(`https://keys.example:${host.port}/`)).rejects.toThrow('keys.example, at 127.0.0.1');
    expect(host.connections()).toBe(connectionsBefore);
  });

  test('is what a name may not turn to: it is looked up once, and connected to as it was found', async () => {
    const answers = ['127.0.0.1', '127.0.0.2'];
    const asked: string[] = [];
    const fetchOnce = createOutboundFetch(inDevelopment, async (name) => {
      asked.push(name);
      return [{ address: answers.shift() ?? '', family: 4 }];
    });
    const response = await fetchOnce(`http://keys.example:${host.port}/`);
    expect(await response.json()).toEqual({ keys: [] });
    expect(asked).toEqual(['keys.example']);
  });

  test('is reached where the operator names its range, and nothing beside it', async () => {
    const fetchNear = createOutboundFetch({ allowsHttp: true, privateRanges: ['127.0.0.1'] });
    expect((await fetchNear(`${host.url}/`)).status).toBe(200);
    await expect(fetchNear('http://127.0.0.2/')).rejects.toThrow('is not a public address');
    await expect(fetchNear('http://[::1]/')).rejects.toThrow('is not a public address');
    const fetchSix = createOutboundFetch({ allowsHttp: true, privateRanges: ['fd00::/8'] });
    await expect(fetchSix(`${host.url}/`)).rejects.toThrow('is not a public address');
  });
});

test('a public address is not refused', async () => {
  const asked: string[] = [];
  const signal = AbortSignal.timeout(50);
  for (const address of ['93.184.215.14', '2606:2800:21f:cb07:6820:80da:af6b:8b2c']) {
    const fetchPublic = createOutboundFetch(inProduction, async (name) => {
      asked.push(name);
      return [{ address, family: address.includes(':') ? 6 : 4 }];
    });
    await expect(fetchPublic('https://keys.example/', { signal })).rejects.not.toThrow('is not a public address');
  }
  expect(asked).toEqual(['keys.example', 'keys.example']);
});

describe('a fetch', () => {
  test.each(['http://example.com/', 'ftp://example.com/', 'file:///etc/passwd', 'data:application/json,{}'])(
    'goes by https alone in production: %s is refused',
    async (url) => {
      await expect(fetchInProduction(url)).rejects.toThrow('is not fetched from');
    },
  );

  test('follows no redirect', async () => {
    const redirecting = await startKeyHost((_request, response) => {
      response.writeHead(302, { location: `${host.url}/jwks` }).end();
    });
    const requestsBefore = host.requests();
    const response = await fetchInDevelopment(`${redirecting.url}/`);
    expect(response.status).toBe(302);
    expect(host.requests()).toBe(requestsBefore);
    await redirecting.close();
  });

  test('ends with its signal, in the head and in the body', async () => {
    const silent = await startKeyHost(() => undefined);
    const dripping = await startKeyHost((_request, response) => {
      response.write('{');
    });
    const within = { signal: AbortSignal.timeout(100) };
    await expect(fetchInDevelopment(silent.url, within)).rejects.toThrow(/abort/i);
    const body = fetchInDevelopment(dripping.url, { signal: AbortSignal.timeout(100) }).then((it) => it.text());
    await expect(body).rejects.toThrow();
    await Promise.all([silent.close(), dripping.close()]);
  });

  test('asks a resolver that hangs once for a host, however many wait', async () => {
    let asked = 0;
    const fetchSlow = createOutboundFetch(inProduction, () => {
      asked += 1;
      return new Promise(() => undefined);
    });
    const fetches = [1, 2, 3].map(() => fetchSlow('https://slow.example/', { signal: AbortSignal.timeout(50) }));
    for (const { status } of await Promise.allSettled(fetches)) expect(status).toBe('rejected');
    expect(asked).toBe(1);
  });

  test('is refused at once by a host that switches protocols, which would be waited for without end', async () => {
    const switching = createServer((socket) => {
      socket
        .on('error', () => undefined)
        .end('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n');
    });
    await new Promise<void>((resolve) => switching.listen(0, '127.0.0.1', resolve));
    const { port } = switching.address() as AddressInfo;
    try {
      await expect(fetchInDevelopment(`http://127.0.0.1:${port}/`)).rejects.toThrow('ended without an answer');
    } finally {
      switching.close();
    }
  });

  test('is refused where the answer is none, and nothing else breaks', async () => {
    const odd = await startKeyHost((_request, response) => response.writeHead(204).end());
    await expect(fetchInDevelopment(odd.url)).rejects.toThrow();
    await odd.close();
    await expect(fetchInDevelopment(odd.url)).rejects.toThrow('ECONNREFUSED');
  });
});
