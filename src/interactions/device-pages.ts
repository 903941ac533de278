import type { Context } from 'koa';
import { type ClientView, definePage, type Pages } from '../http/index.ts';
import type { DeviceInfo, DevicePages, UserCodeForm } from '../oidc/index.ts';

/** `action`, `xsrf`, `userCode`, and what was wrong with the code that was typed in last. */
type UserCodePage = UserCodeForm;

interface ConfirmDevicePage {
  /** Where the form is POSTed: `xsrf`, `user_code`, and `confirm` or `abort`. */
  action: string;
  xsrf: string;
  userCode: string;
  client: ClientView;
  info: DeviceInfo;
}

interface DeviceDonePage {
  client?: ClientView | undefined;
  isAllowed: boolean;
}

export const userCodePage = definePage<UserCodePage>('device');
export const confirmDevicePage = definePage<ConfirmDevicePage>('device-confirm');
export const deviceDonePage = definePage<DeviceDonePage>('device-done');

/**
 * The pages on which a person connects a device (RFC 8628, section 3.3): a code to type in, a look at what it is for, and
 * how it ended. Sign-in and consent come in between, as for any app.
 */
export function createDevicePages(dependencies: {
  pages: Pages;
  /** Undefined where it is not registered, or no longer. */
  clientView(clientId: string | undefined): Promise<ClientView | undefined>;
}): Omit<DevicePages, 'error'> {
  const { pages, clientView } = dependencies;
  return {
    userCode(context, form) {
      pages.show(context as Context, userCodePage(form));
    },

    async confirmDevice(context, { clientId, form, info }) {
      const client = (await clientView(clientId)) ?? { clientId, name: clientId };
      pages.show(context as Context, confirmDevicePage({ ...form, client, info }), localesOf(context.oidc.deviceCode));
    },

    async deviceDone(context, { clientId, isAllowed }) {
      const client = await clientView(clientId);
      pages.show(context as Context, deviceDonePage({ client, isAllowed }), localesOf(context.oidc.deviceCode));
    },
  };
}

/** The language that the device asked for, if it did. */
function localesOf(code: { params?: Record<string, unknown> | undefined } | undefined): string | undefined {
  const locales = code?.params?.ui_locales;
  return typeof locales === 'string' ? locales : undefined;
}
