/** One argument of a POSIX shell, whatever is in it. */
export function shellQuote(value: string): string {
  return /^[\w./:@%+=,-]+$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`;
}

/**
 * The curl command for a request, one part a line, to be pasted into a shell. Credentials go as HTTP Basic (RFC 6749,
 * section 2.3.1); those of the demo clients have no character that would have to be encoded first.
 */
export function curlCommand(request: {
  url: string;
  client?: { id: string; secret: string } | undefined;
  bearerToken?: string | undefined;
  form?: Readonly<Record<string, string | undefined>> | undefined;
}): string {
  const { url, client, bearerToken, form = {} } = request;
  const parts = [
    `curl -sS ${shellQuote(url)}`,
    ...(client === undefined ? [] : [`-u ${shellQuote(`${client.id}:${client.secret}`)}`]),
    ...(bearerToken === undefined ? [] : [`-H ${shellQuote(`Authorization: Bearer ${bearerToken}`)}`]),
    ...Object.entries(form).flatMap(([name, value]) =>
      value === undefined ? [] : [`--data-urlencode ${shellQuote(`${name}=${value}`)}`],
    ),
  ];
  return parts.join(' \\\n  ');
}
