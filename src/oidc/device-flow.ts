import type { Configuration, ErrorOut, KoaContextWithOIDC } from 'oidc-provider';
import { POLL_INTERVAL_SECONDS } from '../limits/index.ts';
import { TooManyUserCodes } from './device-codes.ts';

/** Why a code that was typed in leads nowhere. */
type UserCodeFault = 'missing' | 'unknown' | 'expired' | 'used' | 'too_many' | 'out_of_date';

/** What each form on the device pages is sent with. */
type DeviceForm = {
  /** Where it is POSTed, with `xsrf` and `user_code`. */
  action: string;
  /** Empty where this browser has no session that it could belong to: then a GET with `user_code` begins one. */
  xsrf: string;
  userCode: string;
};

export type UserCodeForm = DeviceForm & {
  fault?: UserCodeFault | undefined;
  /** Where there were too many. */
  retryAfterSeconds?: number | undefined;
};

/** Where a device code was asked for, as far as the request tells. */
export type DeviceInfo = { address?: string | undefined; userAgent?: string | undefined };

/** The pages of the device flow; `interactions/` makes them. */
export interface DevicePages {
  /** Asks for the code that the device shows. */
  userCode(context: KoaContextWithOIDC, form: UserCodeForm): void;
  /** Asks whether it is the person's own device; the form is sent with `confirm` or `abort` besides. */
  confirmDevice(
    context: KoaContextWithOIDC,
    device: { clientId: string; form: DeviceForm; info: DeviceInfo },
  ): Promise<void>;
  /** Tells how it ended. */
  deviceDone(context: KoaContextWithOIDC, outcome: { clientId: string | undefined; isAllowed: boolean }): Promise<void>;
  /** Anything else that went wrong. */
  error(context: KoaContextWithOIDC, out: ErrorOut, error: Error): void | Promise<void>;
}

/** As long as anybody's code with its dashes; more is not worth showing again. */
const SHOWN_CODE_LENGTH = 20;
const USER_AGENT_LENGTH = 120;

type DeviceFlow = NonNullable<NonNullable<Configuration['features']>['deviceFlow']>;

/** The device flow (RFC 8628): eight letters without vowels, which spell no word and are not taken for digits. */
export function deviceFlow(pages: DevicePages): DeviceFlow {
  return {
    enabled: true,
    charset: 'base-20',
    mask: '****-****',
    deviceInfo: (context) => deviceInfoOf(context),
    userCodeInputSource: (context, _form, out, error) => askAgain(context, pages, out, error),
    userCodeConfirmSource: (context, _form, client, info, userCode) =>
      pages.confirmDevice(context, { clientId: client.clientId, form: formOf(context, userCode), info }),
    successSource: (context) => pages.deviceDone(context, { clientId: context.oidc.client?.clientId, isAllowed: true }),
  };
}

/**
 * What the library leaves out: a device is told how often to ask (RFC 8628, section 3.2), and an address that has the code
 * in it leads to our own page with the code filled in, which nothing sends until a person has looked at it (section 3.3.1).
 */
export function completeDeviceFlow(pages: DevicePages) {
  return async (context: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void> => {
    await next();
    if (context.oidc === undefined || context.status !== 200) return;
    const { route, params } = context.oidc;
    if (route === 'device_authorization') Object.assign(context.body as object, { interval: POLL_INTERVAL_SECONDS });
    if (route !== 'code_verification' || context.method !== 'GET' || !params?.user_code) return;
    pages.userCode(context, formOf(context, params.user_code));
  };
}

function deviceInfoOf(context: KoaContextWithOIDC): DeviceInfo {
  const userAgent = context.get('user-agent').slice(0, USER_AGENT_LENGTH);
  return { address: context.ip, ...(userAgent === '' ? undefined : { userAgent }) };
}

function formOf({ oidc }: KoaContextWithOIDC, userCode: unknown): DeviceForm {
  const { secret } = (oidc.session?.state ?? {}) as { secret?: unknown };
  return {
    action: new URL(oidc.urlFor('code_verification')).pathname,
    xsrf: typeof secret === 'string' ? secret : '',
    userCode: typeof userCode === 'string' ? userCode.slice(0, SHOWN_CODE_LENGTH) : '',
  };
}

/** The library shows its input page for whatever goes wrong at these routes; a code is asked for where another one would help. */
async function askAgain(
  context: KoaContextWithOIDC,
  pages: DevicePages,
  out: ErrorOut | undefined,
  error: Error | undefined,
): Promise<void> {
  if (out === undefined || error === undefined) return pages.userCode(context, formOf(context, ''));
  await dropUnkeptSession(context);
  if (error.name === 'AbortedError') {
    return pages.deviceDone(context, { clientId: clientIdOf(context), isAllowed: false });
  }
  const fault = faultOf(context, out, error);
  if (fault === undefined) return pages.error(context, out, error);
  const { userCode } = error as { userCode?: unknown };
  const form = formOf(context, userCode ?? context.oidc.params?.user_code);
  if (!(error instanceof TooManyUserCodes)) {
    context.status = 400;
    return pages.userCode(context, { ...form, fault });
  }
  const { retryAfterSeconds } = error;
  context.set('Retry-After', String(retryAfterSeconds));
  pages.userCode(context, { ...form, fault, retryAfterSeconds });
}

/**
 * For its form the library begins a session in a browser that has none, and here so late that no cookie leads to it: it
 * would then fail to save what it never saved before. So it is saved, and over in a second. A browser comes without a
 * session when it has left the form open for long, or refuses cookies.
 */
async function dropUnkeptSession({ oidc }: KoaContextWithOIDC): Promise<void> {
  const { session } = oidc;
  const isKept = session === undefined || (session.exp as number | undefined) !== undefined;
  if (isKept) return;
  session.state = undefined;
  await session.save(1);
}

/** By the names that the library documents for its page. */
function faultOf(context: KoaContextWithOIDC, out: ErrorOut, error: Error): UserCodeFault | undefined {
  if (error instanceof TooManyUserCodes) return 'too_many';
  switch (error.name) {
    case 'NoCodeError':
      return 'missing';
    case 'NotFoundError':
      return 'unknown';
    case 'ExpiredError':
      return 'expired';
    case 'AlreadyUsedError':
      return 'used';
    default: {
      const isForm = context.oidc.route === 'code_verification' && context.oidc.deviceCode === undefined;
      return isForm && out.error === 'invalid_request' ? 'out_of_date' : undefined;
    }
  }
}

function clientIdOf({ oidc }: KoaContextWithOIDC): string | undefined {
  const asked: unknown = oidc.entities.Interaction?.params.client_id;
  return oidc.client?.clientId ?? oidc.deviceCode?.clientId ?? (typeof asked === 'string' ? asked : undefined);
}
