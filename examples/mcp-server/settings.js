/** Without TLS whoever is on the way reads tokens: http is for this machine, as in development. */
const HOSTS_OF_THIS_MACHINE = new Set(['localhost', '127.0.0.1', '[::1]']);

/** Everything that the server is told by its environment. @throws with the name of what is missing or wrong */
export function readSettings(environment = process.env) {
  return {
    /** Where Tessera is reached, as it calls itself. */
    issuer: address('ISSUER', environment.ISSUER),
    /** Where agents reach this server: the resource that its tokens are for (RFC 8707), and its name as an API of Tessera. */
    resource: address('RESOURCE', environment.RESOURCE),
    /** 0: the port of RESOURCE. */
    port: Number(environment.PORT || 0),
  };
}

/** @param name of the setting, for the error. @returns the URL as it was given */
export function address(name, value) {
  if (!URL.canParse(value ?? '')) throw new Error(`${name} wants a URL`);
  const { protocol, hostname } = new URL(value);
  const isOnThisMachine = protocol === 'http:' && HOSTS_OF_THIS_MACHINE.has(hostname);
  if (protocol !== 'https:' && !isOnThisMachine) throw new Error(`${name} wants https, unless it is on this machine`);
  return value;
}
