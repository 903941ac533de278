import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { demoClientsAt } from '../../src/playground/demo-data.ts';
import { demoSignIn, seedDemoData } from '../../src/playground/index.ts';
import { createTestClient } from '../harness/factories.ts';
import { authorizationRequest } from '../harness/flows.ts';
import { errorOnPage, Person } from '../harness/person.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';

/*
 * OpenID Connect Core 1.0, section 4: a sign-in that somebody else starts, at a client that registered where.
 */

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
  expect(await seedDemoData({ ...server.domains, issuer: server.issuer })).toEqual([]);
});
afterAll(() => server.close());

/** Where the playground's client lets a sign-in be started: as it registers it, where it has https. */
function startUrl(): string {
  const [web] = demoClientsAt('https://id.example.com');
  return String(web?.metadata.initiate_login_uri).replace('https://id.example.com', server.issuer);
}

async function start(person: Person, parameters: Record<string, string>) {
  return person.open(`${startUrl()}?${new URLSearchParams(parameters)}`);
}

async function goThrough(person: Person, page: Awaited<ReturnType<Person['open']>>) {
  const { email: login, password } = demoSignIn;
  const next = await person.submit(page, { login, password }, '/sign-in');
  return next.html.includes('name="decision"') ? person.submit(next, { decision: 'allow' }, '/consent') : next;
}

describe('a client that registered initiate_login_uri', () => {
  test('starts a sign-in for our issuer, with the hint, and ends at its own page', async () => {
    const person = new Person();
    const page = await start(person, { iss: server.issuer, login_hint: 'demo@example.com' });
    expect(new URL(page.url).pathname).toMatch(/^\/interaction\//);
    expect(page.html).toContain('value="demo@example.com"');
    const done = await goThrough(person, page);
    expect(new URL(done.url).pathname).toBe('/playground/result');
  });

  test('ends at the page that target_link_uri names, where it is its own', async () => {
    const person = new Person();
    const page = await start(person, { iss: server.issuer, target_link_uri: `${server.issuer}/` });
    expect((await goThrough(person, page)).url).toBe(`${server.issuer}/`);
  });

  test('may be asked by POST, from another site', async () => {
    const page = await new Person().open(startUrl(), {
      method: 'POST',
      body: new URLSearchParams({ iss: server.issuer }),
      headers: { origin: 'https://portal.example' },
    });
    expect(new URL(page.url).pathname).toMatch(/^\/interaction\//);
  });

  test.each([
    'https://evil.example/',
    '//evil.example/',
    'javascript:alert(1)',
    '/playground/result',
    'https://evil.example@localhost/',
  ])('is no open redirector: target_link_uri %s is refused', async (target) => {
    const page = await start(new Person(), { iss: server.issuer, target_link_uri: target });
    expect(page.response.status).toBe(400);
    expect(page.html).toContain('target_link_uri is no page of this client');
  });

  test('refuses a target on our host that is none of its pages', async () => {
    const page = await start(new Person(), { iss: server.issuer, target_link_uri: `${server.issuer}/logout` });
    expect(page.response.status).toBe(400);
  });

  test.each([{}, { iss: 'https://evil.example' }, { iss: '' }])(
    'refuses an issuer that is not ours: %j',
    async (given) => {
      const page = await start(new Person(), given);
      expect(page.response.status).toBe(400);
      expect(page.html).toContain('iss');
      expect(new URL(page.url).pathname).toBe('/playground/login');
    },
  );
});

describe('a sign-in that is over', () => {
  test('leads back to where the client lets one be started, and says who asks', async () => {
    const client = await createTestClient(server.domains, {
      metadata: { initiate_login_uri: 'https://app.example.com/start?tenant=1' },
    });
    const person = new Person();
    await person.open(authorizationRequest(server.issuer, client.id).url);
    const page = await person.open(`${server.issuer}/interaction/gone-by-now`);
    expect(errorOnPage(page.html)).toBe('invalid_request');
    const iss = encodeURIComponent(server.issuer);
    expect(page.html).toContain(`https://app.example.com/start?tenant=1&amp;iss=${iss}`);
  });
});

describe('initiate_login_uri', () => {
  test.each(['http://app.example.com/start', 'javascript:alert(1)', 'start'])('%s is refused', async (uri) => {
    const made = createTestClient(server.domains, { metadata: { initiate_login_uri: uri } });
    await expect(made).rejects.toThrow('initiate_login_uri');
  });
});
