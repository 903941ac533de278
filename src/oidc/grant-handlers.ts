import { type Configuration, Provider, type TokenEndpointGrantContext } from 'oidc-provider';

/** Answers a token request of one grant type: sets the body of the context, or throws one of the library's own errors. */
export type GrantHandler = (context: TokenEndpointGrantContext) => Promise<void> | void;

type Names = string | readonly string[] | ReadonlySet<string> | undefined;
type Registration = { handler: GrantHandler; parameters: Names; duplicates: Names };

/**
 * What each provider was given by itself. The library registers its own handlers while it is being constructed, before a
 * member of a subclass is there, so that they can't be kept in one.
 */
const builtIns = new WeakMap<Provider, Map<string, Registration>>();

/**
 * The provider, with the handlers that the library registers for its own grants within reach. They hold every check of a
 * token request that is not a grant's own (DPoP, mTLS, resource, scope), so that whoever adds to a grant or builds another
 * on it writes none of them again.
 */
export class GrantProvider extends Provider {
  /** @throws {TypeError} where the library has registered no handler for client credentials by its public method */
  constructor(issuer: string, configuration?: Configuration) {
    super(issuer, configuration);
    this.builtInHandler('client_credentials');
  }

  override registerGrantType<Params extends object = Record<string, unknown>>(
    name: string,
    handler: (context: TokenEndpointGrantContext<Params>) => Promise<void> | void,
    parameters?: Names,
    duplicates?: Names,
  ): void {
    const known = builtIns.get(this) ?? new Map<string, Registration>();
    builtIns.set(this, known);
    // The first of a name is the library's own; what is registered after that replaces it, and does not hide it.
    if (!known.has(name)) known.set(name, { handler: handler as GrantHandler, parameters, duplicates });
    super.registerGrantType(name, handler, parameters, duplicates);
  }

  /**
   * The handler that the library registered for one of its grants, whatever was put around it since.
   *
   * @throws {TypeError} where there is none
   */
  builtInHandler(name: string): GrantHandler {
    return registrationOf(this, name).handler;
  }

  /**
   * Puts something around the library's handler for one of its grants, in the place of what was put around it before. The
   * client has been authenticated and may use the grant; the parameters are those of the grant.
   *
   * @param wrap gets the library's handler; what it returns answers from now on
   * @throws {TypeError} where the library has no such grant
   */
  wrapGrant(name: string, wrap: (handler: GrantHandler) => GrantHandler): void {
    const { handler, parameters, duplicates } = registrationOf(this, name);
    super.registerGrantType(name, wrap(handler), parameters, duplicates);
  }
}

function registrationOf(provider: Provider, name: string): Registration {
  const registration = builtIns.get(provider)?.get(name);
  if (registration === undefined) throw new TypeError(`the library has registered no handler for ${name}`);
  return registration;
}
