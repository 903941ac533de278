/** A person with a browser that has cookies and no JavaScript. */
export class Person {
  readonly #jar = new Map<string, { value: string; path: string }>();
  readonly #headers: Record<string, string>;

  /** @param headers sent with every request, such as what a proxy says of where the person is */
  constructor(headers: Record<string, string> = {}) {
    this.#headers = headers;
  }

  /** Requests one address, with cookies, without following a redirect. */
  async request(url: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers({ ...this.#headers, ...Object.fromEntries(new Headers(init.headers)) });
    const cookie = this.#cookiesFor(new URL(url).pathname);
    if (cookie !== '') headers.set('cookie', cookie);
    if (!headers.has('accept')) headers.set('accept', 'text/html,application/xhtml+xml');
    const response = await fetch(url, { ...init, headers, redirect: 'manual' });
    for (const line of response.headers.getSetCookie()) this.#keep(line);
    return response;
  }

  /** Opens an address and follows redirects as long as they stay below `origin`. */
  async open(url: string, init: RequestInit = {}): Promise<{ response: Response; url: string; html: string }> {
    const { origin } = new URL(url);
    let current = url;
    let response = await this.request(current, init);
    for (let hops = 0; response.status >= 300 && response.status < 400 && hops < 20; hops += 1) {
      const next = new URL(response.headers.get('location') ?? '', current);
      if (next.origin !== origin) return { response, url: next.href, html: '' };
      current = next.href;
      response = await this.request(current);
    }
    return { response, url: current, html: await response.text() };
  }

  /** Fills in and sends the one form of a page (or the one whose action contains `action`), with its hidden fields. */
  async submit(page: { url: string; html: string }, fields: Record<string, string>, action = '') {
    const form = formsIn(page.html).find((candidate) => candidate.action.includes(action));
    if (form === undefined) throw new Error(`no form with ${action} on ${page.url}: ${page.html.slice(0, 2_000)}`);
    return this.open(new URL(form.action, page.url).href, {
      method: 'POST',
      body: new URLSearchParams({ ...form.hidden, ...fields }),
    });
  }

  cookies(): Record<string, string> {
    return Object.fromEntries([...this.#jar].map(([name, { value }]) => [name, value]));
  }

  setCookie(name: string, value: string, path = '/'): void {
    this.#jar.set(name, { value, path });
  }

  #cookiesFor(pathname: string): string {
    const matches = [...this.#jar].filter(([, { path }]) => pathname.startsWith(path));
    return matches.map(([name, { value }]) => `${name}=${value}`).join('; ');
  }

  #keep(line: string): void {
    const [pair = '', ...attributes] = line.split('; ');
    const name = pair.slice(0, pair.indexOf('='));
    const value = pair.slice(pair.indexOf('=') + 1);
    const path = attributes.find((attribute) => /^path=/i.test(attribute))?.slice(5) ?? '/';
    const isGone = value === '' || attributes.some((attribute) => /^expires=Thu, 01 Jan 1970/i.test(attribute));
    if (isGone) this.#jar.delete(name);
    else this.#jar.set(name, { value, path });
  }
}

type Form = { action: string; hidden: Record<string, string> };

function formsIn(html: string): Form[] {
  return [...html.matchAll(/<form\b[^>]*\baction="([^"]*)"[^>]*>(.*?)<\/form>/gs)].map(
    ([, action = '', body = '']) => ({
      action: unescapeHtml(action),
      hidden: Object.fromEntries(
        [...body.matchAll(/<input\b[^>]*type="hidden"[^>]*>/g)].map(([input]) => [
          unescapeHtml(/\bname="([^"]*)"/.exec(input)?.[1] ?? ''),
          unescapeHtml(/\bvalue="([^"]*)"/.exec(input)?.[1] ?? ''),
        ]),
      ),
    }),
  );
}

/** The OAuth error code that a page shows to programs; undefined where it is no error page. */
export function errorOnPage(html: string): string | undefined {
  return /\bdata-error="([^"]*)"/.exec(html)?.[1];
}

function unescapeHtml(text: string): string {
  const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"' };
  return text.replace(/&(?:#(\d+)|(\w+));/g, (all, code?: string, name?: string) =>
    code === undefined ? (named[name ?? ''] ?? all) : String.fromCodePoint(Number(code)),
  );
}
