import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { BlockList } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { z } from 'zod';
import { environmentSchema } from '../../src/config/config-schema.ts';
import { createServerCertificate } from '../harness/certificates.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const settings = new Set(Object.keys(environmentSchema.shape));
/** Of the images' own, not of ours. */
const foreignSettings: Record<string, string[]> = {
  postgres: ['POSTGRES_DB', 'POSTGRES_PASSWORD', 'POSTGRES_USER'],
  'load-balancer': ['ISSUER'],
};

type Instruction = { name: string; rest: string };

function instructionsOf(path: string): Instruction[] {
  return read(path)
    .replace(/^#.*\n/gm, '')
    .replace(/\\\n/g, ' ')
    .split('\n')
    .flatMap((line) => {
      const match = /^([A-Z]+)\s+(.*)$/.exec(line.trim());
      return match === null ? [] : [{ name: match[1] ?? '', rest: match[2] ?? '' }];
    });
}

/** What is copied from the build context, not from another stage. */
function copiedSources(instructions: Instruction[]): string[] {
  return instructions
    .filter(({ name, rest }) => name === 'COPY' && !rest.includes('--from='))
    .flatMap(({ rest }) =>
      rest
        .split(/\s+/)
        .filter((word) => !word.startsWith('--'))
        .slice(0, -1),
    );
}

const composeSchema = z.object({
  services: z.record(
    z.string(),
    z.object({
      image: z.string(),
      build: z.union([z.string(), z.object({ context: z.string(), dockerfile: z.string() })]).optional(),
      user: z.string().optional(),
      command: z.array(z.string()).optional(),
      environment: z.record(z.string(), z.string()),
      depends_on: z.record(z.string(), z.object({ condition: z.string() })).optional(),
      ports: z.array(z.string()).optional(),
      expose: z.array(z.string()).optional(),
      volumes: z.array(z.string()).optional(),
      networks: z.union([z.array(z.string()), z.record(z.string(), z.object({ ipv4_address: z.string() }))]),
      read_only: z.boolean().optional(),
      cap_drop: z.array(z.string()),
      security_opt: z.array(z.string()),
      stop_grace_period: z.string().optional(),
    }),
  ),
  networks: z.object({
    edge: z.object({
      ipam: z.object({ config: z.tuple([z.object({ subnet: z.string(), ip_range: z.string() })]) }),
    }),
    data: z.object({ internal: z.literal(true) }),
  }),
  volumes: z.record(z.string(), z.null()),
});
const composeText = read('docker-compose.yml');
const { services, networks, volumes } = composeSchema.parse(parse(composeText, { merge: true }));
function service(name: string) {
  const found = services[name];
  if (found === undefined) throw new Error(`there is no service ${name}`);
  return found;
}
const nodes = ['tessera-1', 'tessera-2'];

describe('the images', () => {
  const dockerfiles = ['Dockerfile', 'deploy/load-balancer.Dockerfile'];

  test.each(dockerfiles)('%s is built on pinned images and runs as an ordinary user', (path) => {
    const instructions = instructionsOf(path);
    const bases = instructions.filter(({ name }) => name === 'FROM').map(({ rest }) => rest.split(' ')[0]);
    expect(bases.length).toBeGreaterThan(0);
    for (const base of bases) expect(base).toMatch(/^[a-z]+:\d+\.\d+/);
    const lastStage = instructions.slice(instructions.findLastIndex(({ name }) => name === 'FROM'));
    const user = lastStage.findLast(({ name }) => name === 'USER')?.rest;
    expect(user).toMatch(/^(?!0\b|root\b)\w+/);
  });

  test.each(dockerfiles)('every file that %s copies exists', (path) => {
    const context = path.includes('/') ? 'deploy' : '.';
    const sources = copiedSources(instructionsOf(path));
    expect(sources.length).toBeGreaterThan(0);
    for (const source of sources)
      expect({ source, exists: existsSync(join(root, context, source)) }).toEqual({ source, exists: true });
  });

  test('the server runs the Node.js that is developed with', () => {
    const [major, minor] = process.versions.node.split('.');
    for (const { name, rest } of instructionsOf('Dockerfile')) {
      if (name === 'FROM') expect(rest).toMatch(new RegExp(`^node:${major}\\.${minor}-\\w+-slim`));
    }
  });

  test('nothing reaches the build but what the image is made of', () => {
    const [first, ...allowed] = read('.dockerignore')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    expect(first).toBe('*');
    expect(allowed.map((line) => line.slice(1)).sort()).toEqual(copiedSources(instructionsOf('Dockerfile')).sort());
  });

  test('the command line is on the path under its name', () => {
    const { bin } = JSON.parse(read('package.json')) as { bin: Record<string, string> };
    expect(bin.tessera).toBeDefined();
    expect(read(bin.tessera ?? '')).toMatch(/^#!\/usr\/bin\/env node\n/);
    const instructions = instructionsOf('Dockerfile');
    expect(instructions).toContainEqual({ name: 'ENV', rest: expect.stringMatching(/PATH=\/app\/bin:/) });
    expect(instructions).toContainEqual({ name: 'RUN', rest: expect.stringContaining('bin/tessera') });
  });

  test('signals reach the server itself: no shell in between', () => {
    const command = instructionsOf('Dockerfile').find(({ name }) => name === 'CMD');
    expect(JSON.parse(command?.rest ?? '')).toEqual(['node', '/app/src/main.ts']);
    expect(existsSync(join(root, 'src/main.ts'))).toBe(true);
  });

  test.each(['http', 'https'])(
    'the health check passes where the node is ready by %s, and fails elsewhere',
    async (scheme) => {
      const healthcheck = instructionsOf('Dockerfile').find(({ name }) => name === 'HEALTHCHECK');
      const [, script] = /CMD (\[.*\])$/.exec(healthcheck?.rest ?? '') ?? [];
      const [program, ...words] = JSON.parse(script ?? '') as [string, ...string[]];
      expect(program).toBe('node');
      let status = 200;
      const answer: RequestListener = (request, response) => {
        response.statusCode = request.url === '/health/ready' ? status : 404;
        response.end();
      };
      const server = scheme === 'http' ? createServer(answer) : createSecureServer(createServerCertificate(), answer);
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const check = () =>
        promisify(execFile)(process.execPath, words, {
          env: { PORT: String(port), ...(scheme === 'https' && { TLS_CERT_FILE: '/tls/cert.pem' }) },
        }).then(
          () => true,
          () => false,
        );
      expect(await check()).toBe(true);
      status = 503;
      expect(await check()).toBe(false);
      server.closeAllConnections();
      server.close();
      expect(await check()).toBe(false);
    },
  );
});

describe('the compose file', () => {
  test('every image is pinned or built here, and every file that it is built from exists', () => {
    for (const { image, build } of Object.values(services)) {
      if (build === undefined) expect(image).toMatch(/^[a-z]+:\d+\.\d+/);
      else {
        const path = typeof build === 'string' ? 'Dockerfile' : join(build.context, build.dockerfile);
        expect({ path, exists: existsSync(join(root, path)) }).toEqual({ path, exists: true });
      }
    }
  });

  test('a service whose image it does not build is told to run as an ordinary user', () => {
    for (const { build, user } of Object.values(services)) {
      if (build === undefined) expect(user).toMatch(/^(?!0\b|root\b)\w+/);
    }
  });

  test('no service may gain a privilege, and ours write no file', () => {
    for (const { cap_drop, security_opt } of Object.values(services)) {
      expect(cap_drop).toEqual(['ALL']);
      expect(security_opt).toEqual(['no-new-privileges:true']);
    }
    for (const name of [...nodes, 'migrate', 'load-balancer']) expect(service(name).read_only).toBe(true);
  });

  test('every variable that it sets is a setting of the server', () => {
    for (const [name, { environment }] of Object.entries(services)) {
      const known = foreignSettings[name] ?? [...settings];
      for (const variable of Object.keys(environment)) expect(known).toContain(variable.replace(/_FILE$/, ''));
    }
  });

  test('what production wants is set', () => {
    for (const name of [...nodes, 'migrate']) {
      expect(service(name).environment).toMatchObject({
        NODE_ENV: 'production',
        ISSUER: expect.any(String),
        DATABASE_URL: expect.any(String),
        KEY_ENCRYPTION_KEY: expect.any(String),
      });
    }
  });

  test('no secret is committed: each must be given, and the message says how', () => {
    const secrets = /^ *(POSTGRES_PASSWORD|KEY_ENCRYPTION_KEY|COOKIE_KEYS): *(\S.*)$/gm;
    const set = [...composeText.matchAll(secrets)];
    expect(set.length).toBeGreaterThanOrEqual(2);
    for (const [, name, value] of set) expect(value).toMatch(new RegExp(`^\\$\\{${name}:\\?.*(openssl|see the head)`));
    const url = service('tessera-1').environment.DATABASE_URL ?? '';
    expect(url).toMatch(/^postgres:\/\/tessera:\$\{POSTGRES_PASSWORD:\?[^}]+\}@postgres:5432\/tessera$/);
    const forgiving = [...composeText.matchAll(/\$\{(\w+):?-/g)].map(([, name]) => name);
    expect(forgiving).toEqual(['LOG_LEVEL']);
  });

  test('nodes start on a migrated database, and the load balancer on nodes that are ready', () => {
    for (const name of nodes) {
      expect(service(name).depends_on).toMatchObject({ migrate: { condition: 'service_completed_successfully' } });
    }
    expect(service('migrate').command).toEqual(['tessera', 'migrate', 'up']);
    expect(service('migrate').depends_on).toMatchObject({ postgres: { condition: 'service_healthy' } });
    for (const name of nodes) {
      expect(service('load-balancer').depends_on).toMatchObject({ [name]: { condition: 'service_healthy' } });
    }
  });

  test('only the load balancer can be reached from outside; the database by the nodes alone', () => {
    const published = Object.entries(services).filter(([, { ports }]) => ports !== undefined);
    expect(published.map(([name]) => name)).toEqual(['load-balancer']);
    expect(service('postgres').networks).toEqual(['data']);
    expect(Object.keys(service('load-balancer').networks)).toEqual(['edge']);
  });

  test('the nodes trust the load balancer and nobody else, at an address that stays free for it', () => {
    const { networks: joined } = service('load-balancer');
    const address = Array.isArray(joined) ? '' : (joined.edge?.ipv4_address ?? '');
    for (const name of nodes) expect(service(name).environment.TRUST_PROXY).toBe(address);
    const [{ subnet, ip_range }] = networks.edge.ipam.config;
    expect(isWithin(address, subnet)).toBe(true);
    expect(isWithin(address, ip_range)).toBe(false);
  });

  test('every volume that is mounted is declared, and the data of PostgreSQL 18 is in one', () => {
    const mounted = Object.values(services).flatMap((one) => one.volumes ?? []);
    for (const mount of mounted) expect(Object.keys(volumes)).toContain(mount.split(':')[0]);
    expect(service('postgres').volumes).toEqual(['database:/var/lib/postgresql']);
    expect(service('postgres').image).toMatch(/^postgres:18\./);
  });

  test('a node gets the time that it gives itself to finish', () => {
    for (const name of nodes) expect(Number.parseInt(service(name).stop_grace_period ?? '', 10)).toBeGreaterThan(25);
  });
});

describe('the load balancer', () => {
  const caddyfile = read('deploy/Caddyfile');

  test('sends requests to both nodes, as long as they are ready', () => {
    const port = service('tessera-1').environment.PORT;
    for (const name of nodes) expect(caddyfile).toContain(` ${name}:${port}`);
    expect(caddyfile).toContain('health_uri /health/ready');
    expect(caddyfile).not.toMatch(/metrics|9464/);
  });

  test('lets nobody outside name a request or bring a certificate in a header', () => {
    expect(caddyfile).toContain('header_up X-Request-Id {http.request.uuid}');
    for (const header of ['Forwarded', 'X-Real-Ip', 'X-Forwarded-Client-Cert', 'X-Client-Cert*', 'X-Ssl-*']) {
      expect(caddyfile).toContain(`header_up -${header}`);
    }
  });

  test('listens where its published ports lead', () => {
    const inner = service('load-balancer').ports?.map((mapping) => mapping.split(':')[1]);
    expect(inner).toEqual([/http_port (\d+)/.exec(caddyfile)?.[1], /https_port (\d+)/.exec(caddyfile)?.[1]]);
  });
});

function isWithin(address: string, range: string): boolean {
  const [base = '', bits = ''] = range.split('/');
  const list = new BlockList();
  list.addSubnet(base, Number(bits));
  return list.check(address);
}
