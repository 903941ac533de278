/** The characters of RFC 3986, section 2: what else a URL parser would forgive or drop can't be compared exactly. */
const URI_CHARACTERS = /^[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=%]+$/;
const MAX_URI_LENGTH = 2_048;
/** RFC 8252, section 7.3 and, for those who can't do better, section 8.3. */
const LOOPBACK_HOSTS = new Set(['localhost', '127.0.0.1', '[::1]']);

/** Why a redirect URI can't be registered, as the rest of a sentence that begins with it; absent when it can. */
export function redirectUriFault(uri: string): string | undefined {
  const url = parseUri(uri);
  if (url === null) return 'is not an absolute URI';
  if (uri.includes('#')) return 'has a fragment, which a redirect URI must not have (RFC 6749, section 3.1.2)';
  if (url.protocol === 'https:' || url.protocol === 'http:') return webFault(url);
  // `javascript:`, `data:` and the like have no dot either.
  if (!url.protocol.includes('.')) {
    return 'has a scheme without a dot: a private scheme is a reversed domain name, such as com.example.app (RFC 8252, section 7.1)';
  }
  return undefined;
}

/** Whether a redirect URI leads to the device itself: by its own network (RFC 8252, sections 7.3, 8.3) or a private scheme. */
export function isOnDevice(uri: string): boolean {
  const url = parseUri(uri);
  if (url === null || url.protocol === 'https:') return false;
  return url.protocol !== 'http:' || LOOPBACK_HOSTS.has(url.hostname);
}

/** Why an address that the server or a browser fetches (a logo, a policy, keys) can't be registered; absent when it can. */
export function webUriFault(uri: string): string | undefined {
  const url = parseUri(uri);
  if (url === null || !/^https?:$/.test(url.protocol)) return 'is not an https URL';
  return webFault(url);
}

/** The same where the specification has no place for a fragment, as in addresses that the server itself calls. */
export function calledUriFault(uri: string): string | undefined {
  return uri.includes('#') ? 'has a fragment, which would never be sent' : webUriFault(uri);
}

/** The same for an origin of RFC 6454, as a browser sends it in `Origin`. */
export function originFault(origin: string): string | undefined {
  const fault = webUriFault(origin);
  if (fault !== undefined) return fault;
  const normal = new URL(origin).origin;
  return normal === origin ? undefined : `is not an origin as browsers send it: did you mean ${normal}?`;
}

function parseUri(uri: string): URL | null {
  if (uri.length > MAX_URI_LENGTH || !URI_CHARACTERS.test(uri)) return null;
  const url = URL.parse(uri);
  if (url === null || !uri.startsWith(url.protocol)) return null;
  const isWeb = url.protocol === 'https:' || url.protocol === 'http:';
  return isWeb && !/^https?:\/\/[^/]/.test(uri) ? null : url;
}

function webFault(url: URL): string | undefined {
  if (url.username !== '' || url.password !== '') return 'has a user name or password in it';
  if (url.hostname.includes('*')) return 'has a wildcard, but addresses are compared exactly';
  if (url.protocol === 'http:' && !LOOPBACK_HOSTS.has(url.hostname)) {
    return 'wants https: http is for localhost, 127.0.0.1 and [::1] alone';
  }
  return undefined;
}
