import type pg from 'pg';
import type { NewClient } from '../../src/clients/index.ts';
import type { Domains } from '../../src/compose/index.ts';
import { createTestClient, type TestClient } from './factories.ts';
import type { Person } from './person.ts';
import { type Answer, type Client, post } from './token-requests.ts';

export const DEVICE_CODE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';

/** An app on a device without a browser, which can keep no secret. */
export function createDeviceClient(
  domains: Pick<Domains, 'clients'>,
  input: Omit<NewClient, 'metadata'> & { metadata?: Partial<NewClient['metadata']> } = {},
): Promise<TestClient> {
  const metadata: Partial<NewClient['metadata']> = {
    client_name: 'Living Room TV',
    redirect_uris: [],
    grant_types: [DEVICE_CODE_GRANT, 'refresh_token'],
    response_types: [],
    token_endpoint_auth_method: 'none',
    ...input.metadata,
  };
  return createTestClient(domains, { ...input, metadata });
}

export type DeviceCodes = {
  device_code: string;
  user_code: string;
  verification_uri: string;
  verification_uri_complete: string;
  expires_in: number;
  interval: number;
};

/** What a device begins with. @throws where it is refused */
export async function askForCodes(
  issuer: string,
  client: Client,
  parameters: Record<string, string> = {},
): Promise<DeviceCodes> {
  const { status, body } = await post(`${issuer}/device_authorization`, client, { scope: 'openid', ...parameters });
  if (status !== 200) throw new Error(`no codes: ${status} ${JSON.stringify(body)}`);
  return body as DeviceCodes;
}

/** One poll of a device. */
export function poll(issuer: string, client: Client, deviceCode: string | undefined): Promise<Answer> {
  return post(`${issuer}/token`, client, { grant_type: DEVICE_CODE_GRANT, device_code: deviceCode });
}

/** Lets every device ask again: the interval goes by the database's clock, which can't be set. */
export async function letIntervalsPass(pool: pg.Pool): Promise<void> {
  await pool.query(`update sign_in_attempts set expire = 0 where key like 'poll:%'`);
}

/** Types a code in. @returns the page that asks whether it is the person's device, or says what is wrong */
export async function enterCode(issuer: string, person: Person, userCode: string) {
  const page = await person.open(`${issuer}/device`);
  return person.submit(page, { user_code: userCode }, '/device');
}

/** Types a code in, confirms it, signs in and allows, as far as each is asked for. @returns the last page */
export async function connectDevice(
  issuer: string,
  person: Person,
  userCode: string,
  credentials: { login: string; password: string },
  decision: 'allow' | 'deny' = 'allow',
) {
  let page = await person.submit(await enterCode(issuer, person, userCode), { confirm: 'yes' }, '/device');
  if (page.html.includes('name="password"')) page = await person.submit(page, credentials, '/sign-in');
  if (page.html.includes('name="decision"')) page = await person.submit(page, { decision }, '/consent');
  return page;
}
