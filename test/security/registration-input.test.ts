import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { clientMetadataSchema } from '../../src/clients/client-metadata-schema.ts';
import { register, send, WEB_APP } from '../harness/registration.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ environment: { REGISTRATION: 'open', REGISTRATIONS_PER_ADDRESS: '1000000' } });
});
afterAll(() => server.close());

const MEMBERS = [
  ...Object.keys(clientMetadataSchema.shape),
  'allowed_origins',
  'client_secret',
  'client_secret_expires_at',
  'constructor',
  'found',
  'toString',
  'unknown',
];

const VALUES: readonly [string, string][] = [
  ['null', 'null'],
  ['true', 'true'],
  ['a number', '-1.5'],
  ['an empty text', '""'],
  ['a NUL', '"a\\u0000b"'],
  ['half a character', '"\\ud800"'],
  ['a text', '"x"'],
  ['a long text', `"${'a'.repeat(20_000)}"`],
  ['an address', '"https://app.example.com/x"'],
  ['an empty list', '[]'],
  ['a list of anything', '[null,1,{},[],"x"]'],
  ['an empty object', '{}'],
  ['a poisoned object', '{"__proto__":{"isAdmin":true},"keys":[{"kty":"RSA","n":1,"e":{}}]}'],
  ['depth', `${'['.repeat(2_000)}${']'.repeat(2_000)}`],
];

async function sendJson(method: string, url: string, text: string, token?: string): Promise<[number, string]> {
  const response = await fetch(url, {
    method,
    headers: {
      'content-type': 'application/json',
      accept: 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    body: text,
  });
  return [response.status, await response.text()];
}

/** What a body has where a member has that very value, whatever else it says. */
function withMember(members: object, name: string, value: string): string {
  const rest = Object.entries(members).filter(([own]) => own !== name);
  return `{${[...rest.map(([own, it]) => `${JSON.stringify(own)}:${JSON.stringify(it)}`), `${JSON.stringify(name)}:${value}`].join(',')}}`;
}

describe('a member of a registration', () => {
  test.each(VALUES)('that is %s is answered, and is never a fault', async (_, value) => {
    const outcomes = await Promise.all(
      [...MEMBERS, '__proto__'].map(async (name) => {
        const [status, text] = await sendJson('POST', `${server.issuer}/register`, withMember(WEB_APP, name, value));
        return { name, status, error: (JSON.parse(text) as { error?: string }).error };
      }),
    );
    for (const { name, status, error } of outcomes) {
      expect({ name, isExpected: [201, 400].includes(status), status, error }).toEqual({
        name,
        isExpected: true,
        status,
        error: status === 201 ? undefined : expect.stringMatching(/^[a-z_]+$/),
      });
    }
    expect(({} as Record<string, unknown>).isAdmin).toBeUndefined();
  });

  test.each(VALUES)('that is changed to %s is answered, and is never a fault', async (_, value) => {
    const client = await register(server.issuer);
    let { token } = client;
    for (const name of MEMBERS) {
      const text = withMember({ ...WEB_APP, client_id: client.id }, name, value);
      const [status, answer] = await sendJson('PUT', client.uri, text, token);
      expect({ name, isExpected: [200, 400].includes(status), status }).toEqual({ name, isExpected: true, status });
      if (status === 200)
        token = (JSON.parse(answer) as { registration_access_token: string }).registration_access_token;
    }
    expect((await send('GET', client.uri, { token })).status).toBe(200);
  });
});

test('a registration that is too large is refused', async () => {
  const [status] = await sendJson(
    'POST',
    `${server.issuer}/register`,
    withMember(WEB_APP, 'a', `"${'a'.repeat(60_000)}"`),
  );
  expect(status).toBe(400);
});
