import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { type Api, TOKEN_EXCHANGE } from '../../../src/clients/index.ts';
import { askForCodes, createDeviceClient, DEVICE_CODE_GRANT, enterCode } from '../../harness/devices.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  REDIRECT_URI,
  type TestClient,
} from '../../harness/factories.ts';
import { authorizationRequest, authorize, codeFor } from '../../harness/flows.ts';
import { payment, paymentType } from '../../harness/payments.ts';
import { Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { clientCredentials, post, redeem, refresh } from '../../harness/token-requests.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

type Bank = { api: Api; type: string; client: TestClient };

async function openBank(tokenFormat: Api['tokenFormat'] = 'jwt', ...others: string[]): Promise<Bank> {
  const detailsType = paymentType();
  const api = await createTestApi(server.domains, { name: 'Bank', tokenFormat, detailsTypes: [detailsType] });
  const client = await createTestClient(server.domains, {
    metadata: {
      authorization_details_types: [detailsType.type, ...others],
      scope: 'openid offline_access',
    },
  });
  return { api, type: detailsType.type, client };
}

const asking = (...details: unknown[]) => ({ authorization_details: JSON.stringify(details) });
const introspect = async (client: TestClient, token: unknown) =>
  (await post(`${server.issuer}/introspect`, client, { token: String(token) })).body;

/** Signs in, and stops at the consent page. */
async function consentPage({ client }: Pick<Bank, 'client'>, parameters: Record<string, string>) {
  const person = new Person();
  const { login, password } = await createTestAccount(server.domains);
  const request = authorizationRequest(server.issuer, client.id, parameters);
  const page = await person.submit(await person.open(request.url), { login, password }, '/sign-in');
  return { person, page, request, credentials: { login, password } };
}

/** The error that an authorization request goes back to the app with. */
async function refusal(client: TestClient, parameters: Record<string, string>) {
  const { url } = await new Person().open(authorizationRequest(server.issuer, client.id, parameters).url);
  const back = new URL(url).searchParams;
  return { error: back.get('error'), description: back.get('error_description') };
}

describe('RFC 9396: authorization details', () => {
  test.each(['jwt', 'opaque'] as const)(
    'are in the token response, and in a token in %s format, as granted',
    async (format) => {
      const { api, type, client } = await openBank(format);
      const asked = payment(type);
      const account = await createTestAccount(server.domains);
      const { code, verifier } = await codeFor(server.issuer, client, account, { parameters: asking(asked) });
      const { status, body } = await redeem(server.issuer, client, code, verifier, { resource: api.identifier });
      expect(status).toBe(200);
      expect(body.authorization_details).toEqual([asked]);
      if (format === 'jwt') expect(decodeJwt(String(body.access_token)).authorization_details).toEqual([asked]);
      expect(await introspect(client, body.access_token)).toMatchObject({
        active: true,
        authorization_details: [asked],
      });
    },
  );

  test('stand on the consent page in plain words, every field of them', async () => {
    const bank = await openBank();
    const asked = payment(bank.type, '7', { reference: 'Rent', isInstant: true, invoices: [{ number: 'A1' }] });
    const { page } = await consentPage(bank, asking(asked));
    const section = /<section[^>]*data-details>(.*?)<\/section>/s.exec(page.html)?.[1] ?? '';
    const words = section
      .replaceAll(/<[^>]*>/g, ' ')
      .replaceAll(/\s+/g, ' ')
      .trim();
    expect(words).toBe('Payment, in Bank Pay 7 EUR to Merchant Ltd Reference Rent At once Yes Invoice 1 › Number A1');
  });

  test('are asked for anew each time, by whomever they were allowed before', async () => {
    const { client, type } = await openBank();
    const credentials = await createTestAccount(server.domains);
    const person = new Person();
    await authorize(person, authorizationRequest(server.issuer, client.id, asking(payment(type))), credentials);
    for (const value of ['123.50', '999.00']) {
      const request = authorizationRequest(server.issuer, client.id, asking(payment(type, value)));
      expect((await person.open(request.url)).html).toContain(`${value}</strong>`);
    }
    const silent = authorizationRequest(server.issuer, client.id, { ...asking(payment(type)), prompt: 'none' });
    expect((await person.open(silent.url)).url).toContain('error=consent_required');
  });

  test('of an earlier request are not in a token of a later one', async () => {
    const { api, client, type } = await openBank();
    const credentials = await createTestAccount(server.domains);
    const person = new Person();
    await authorize(person, authorizationRequest(server.issuer, client.id, asking(payment(type))), credentials);
    const { code, verifier } = await codeFor(server.issuer, client, credentials, {
      person,
      parameters: { resource: api.identifier },
    });
    const { body } = await redeem(server.issuer, client, code, verifier, { resource: api.identifier });
    expect(body.access_token).toBeDefined();
    expect(body.authorization_details).toBeUndefined();
  });

  test('that a person denies are not granted', async () => {
    const bank = await openBank();
    const { person, page } = await consentPage(bank, asking(payment(bank.type)));
    const back = await person.submit(page, { decision: 'deny' }, '/consent');
    expect(new URL(back.url).searchParams.get('error')).toBe('access_denied');
  });

  test('may be narrowed by a token request and never widened (section 6)', async () => {
    const { api, client, type } = await openBank();
    const [small, large] = [payment(type, '1'), payment(type, '1000')];
    const account = await createTestAccount(server.domains);
    const { code, verifier } = await codeFor(server.issuer, client, account, {
      parameters: { ...asking(small, large), scope: 'openid offline_access', prompt: 'consent' },
    });
    const resource = api.identifier;
    const narrowed = await redeem(server.issuer, client, code, verifier, { ...asking(small), resource });
    expect(narrowed.body.authorization_details).toEqual([small]);
    const token = String(narrowed.body.refresh_token);
    const kept = await refresh(server.issuer, client, token, { resource });
    expect(kept.body.authorization_details).toEqual([small, large]);
    const widened = await refresh(server.issuer, client, token, { ...asking(payment(type, '1001')), resource });
    expect(widened).toMatchObject({ status: 400, body: { error: 'invalid_authorization_details' } });
  });

  test('reach the API alone that their type belongs to', async () => {
    const other = await openBank();
    const { api, type, client } = await openBank('jwt', other.type);
    const [ours, theirs] = [payment(type), payment(other.type)];
    const account = await createTestAccount(server.domains);
    const { code, verifier } = await codeFor(server.issuer, client, account, {
      parameters: { ...asking(ours, theirs), scope: 'openid offline_access', prompt: 'consent' },
    });
    const { body } = await redeem(server.issuer, client, code, verifier, { resource: api.identifier });
    expect(body.authorization_details).toEqual([ours]);
    const elsewhere = await refresh(server.issuer, client, String(body.refresh_token), {
      resource: other.api.identifier,
    });
    expect(elsewhere.body.authorization_details).toEqual([theirs]);
    const userinfoToken = await refresh(server.issuer, client, String(body.refresh_token));
    expect(userinfoToken.body.authorization_details).toBeUndefined();
  });

  test('are given to a service that is registered for their type', async () => {
    const { api, type } = await openBank();
    const scope = api.scopes[0]?.scope ?? '';
    const service = await createServiceClient(server.domains, scope, {
      metadata: { authorization_details_types: [type] },
    });
    const { status, body } = await clientCredentials(server.issuer, service, asking(payment(type)));
    expect(status).toBe(200);
    expect(decodeJwt(String(body.access_token))).toMatchObject({
      aud: api.identifier,
      authorization_details: [payment(type)],
    });
    const unregistered = await createServiceClient(server.domains, scope);
    const refused = await clientCredentials(server.issuer, unregistered, asking(payment(type)));
    expect(refused).toMatchObject({ status: 400, body: { error: 'invalid_authorization_details' } });
  });

  test('are not handed on by a token exchange', async () => {
    const { api, type } = await openBank();
    const scope = api.scopes[0]?.scope ?? '';
    const service = await createServiceClient(server.domains, scope, {
      apis: [api.identifier],
      metadata: { grant_types: ['client_credentials', TOKEN_EXCHANGE], authorization_details_types: [type] },
    });
    const subject = await clientCredentials(server.issuer, service, { scope, ...asking(payment(type)) });
    expect(subject.body.authorization_details).toEqual([payment(type)]);
    const { status, body } = await post(`${server.issuer}/token`, service, {
      grant_type: TOKEN_EXCHANGE,
      subject_token: String(subject.body.access_token),
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      resource: api.identifier,
      scope,
      ...asking(payment(type)),
    });
    expect({ status, error: body.error_description }).toEqual({ status: 200, error: undefined });
    expect(body.authorization_details).toBeUndefined();
    expect(decodeJwt(String(body.access_token))).not.toHaveProperty('authorization_details');
  });

  test('are asked for by a device, shown to whoever connects it, and in its token', async () => {
    const { api, type } = await openBank();
    const device = await createDeviceClient(server.domains, {
      metadata: { authorization_details_types: [type], scope: 'openid' },
    });
    const codes = await askForCodes(server.issuer, device, asking(payment(type)));
    const person = new Person();
    const credentials = await createTestAccount(server.domains);
    const confirmed = await person.submit(
      await enterCode(server.issuer, person, codes.user_code),
      { confirm: 'yes' },
      '/device',
    );
    const { login, password } = credentials;
    const page = await person.submit(confirmed, { login, password }, '/sign-in');
    expect(page.html).toContain('123.50</strong>');
    await person.submit(page, { decision: 'allow' }, '/consent');
    const { body } = await post(`${server.issuer}/token`, device, {
      grant_type: DEVICE_CODE_GRANT,
      device_code: codes.device_code,
      resource: api.identifier,
    });
    expect(body.authorization_details).toEqual([payment(type)]);
  });

  test('are advertised by their types', async () => {
    const { type } = await openBank();
    const response = await fetch(`${server.issuer}/.well-known/openid-configuration`);
    const metadata = (await response.json()) as Record<string, unknown>;
    expect(metadata.authorization_details_types_supported).toContain(type);
  });

  test('leave their types in the audit trail, and nothing of what they say', async () => {
    const { client, type } = await openBank();
    const { account, ...credentials } = await createTestAccount(server.domains);
    await codeFor(server.issuer, client, credentials, { parameters: asking(payment(type)) });
    const records = await server.domains.audit.tail({ limit: 100, types: ['consent.granted'] });
    const ours = records.filter(({ accountId }) => accountId === account.id);
    expect(ours).toMatchObject([{ details: { detailsTypes: [type] } }]);
    expect(JSON.stringify(records)).not.toContain('Merchant');
  });
});

describe('authorization details are refused', () => {
  test('of a type that the client is not registered for, known here or not', async () => {
    const { type } = await openBank();
    const { client } = await openBank();
    const registeredForNone = await createTestClient(server.domains);
    expect(await refusal(registeredForNone, asking(payment(type)))).toMatchObject({
      error: 'invalid_authorization_details',
    });
    for (const each of [type, 'no-such-type', '__proto__', 'constructor']) {
      expect(await refusal(client, asking(payment(each)))).toMatchObject({ error: 'invalid_authorization_details' });
    }
  });

  test.each<[string, (detail: ReturnType<typeof payment>) => unknown[]]>([
    ['without a field that the schema wants', ({ creditor: _, ...detail }) => [detail]],
    ['with a field that the schema does not know', (detail) => [{ ...detail, hidden: 'x' }]],
    ['with a value of another type', (detail) => [{ ...detail, creditor: 5 }]],
    ['with the location of another API', (detail) => [{ ...detail, locations: ['https://elsewhere.example.com'] }]],
    [
      'with a member that changes prototypes',
      (detail) => [{ ...detail, amount: JSON.parse('{"__proto__":{"value":"1"}}') }],
    ],
    ['that turn the direction of what is shown', (detail) => [{ ...detail, creditor: 'Mer\u202etnahc' }]],
    [
      'of more than a page can bear',
      (detail) => [
        { ...detail, creditor: 'x'.repeat(2_000) },
        ...Array(6).fill({ ...detail, creditor: 'y'.repeat(1_900) }),
      ],
    ],
    ['in larger number than a person can judge', (detail) => Array(21).fill(detail)],
  ])('%s', async (_, make) => {
    const { client, type } = await openBank();
    const details = make(payment(type));
    const { body } = await post(`${server.issuer}/par`, client, {
      ...asking(...details),
      client_id: client.id,
      response_type: 'code',
      redirect_uri: REDIRECT_URI,
      scope: 'openid',
      code_challenge: 'a'.repeat(43),
      code_challenge_method: 'S256',
    });
    expect(body).toMatchObject({ error: 'invalid_authorization_details' });
  });

  test('where 10,000 of them, or lists without end, are sent', async () => {
    const { client, type } = await openBank();
    for (const details of [
      Array(10_000).fill({ type }),
      [{ type, amount: JSON.parse('['.repeat(3_000) + ']'.repeat(3_000)) }],
    ]) {
      const { status } = await post(`${server.issuer}/token`, client, {
        grant_type: 'client_credentials',
        ...asking(...details),
      });
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(500);
    }
  });

  test('at another resource than the request names', async () => {
    const { client, type } = await openBank();
    const other = await createTestApi(server.domains);
    const parameters = { ...asking(payment(type)), resource: other.identifier };
    expect(await refusal(client, parameters)).toMatchObject({ error: 'invalid_authorization_details' });
  });

  test('in markup of their own: what they say is shown as text', async () => {
    const bank = await openBank();
    const { page } = await consentPage(
      bank,
      asking(payment(bank.type, '1', { creditor: '<img src=x onerror=alert(1)>' })),
    );
    expect(page.html).not.toContain('<img src=x');
    expect(page.html).toContain('&lt;img src=x');
  });
});
