import { discoverAuthorizationServerMetadata } from '@modelcontextprotocol/sdk/client/auth.js';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import {
  getOAuthProtectedResourceMetadataUrl,
  mcpAuthMetadataRouter,
} from '@modelcontextprotocol/sdk/server/auth/router.js';
import { createMcpExpressApp } from '@modelcontextprotocol/sdk/server/express.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { createTokenVerifier } from './access-tokens.js';
import { createNotesServer, READ, scopesFor, WRITE } from './notes.js';
import { readSettings } from './settings.js';

const { issuer, resource, port } = readSettings();
const oauthMetadata = await discoverAuthorizationServerMetadata(issuer);
// RFC 8414, section 3.3: else whoever answers here could name the keys of somebody else.
if (oauthMetadata?.issuer !== issuer) throw new Error(`ISSUER is not what ${issuer} calls itself`);

const resourceServerUrl = new URL(resource);
const resourceMetadataUrl = getOAuthProtectedResourceMetadataUrl(resourceServerUrl);
const verifier = createTokenVerifier({ issuer, resource, jwksUri: oauthMetadata.jwks_uri });

const app = createMcpExpressApp({ host: resourceServerUrl.hostname });

// RFC 9728: from here an agent learns who gives out tokens for this server.
app.use(
  mcpAuthMetadataRouter({ oauthMetadata, resourceServerUrl, scopesSupported: [READ, WRITE], resourceName: 'Notes' }),
);

/** 401 without a good token, 403 without the scopes of what is called; both say where to get one. */
function authorize(request, response, next) {
  const requiredScopes = scopesFor(request.body);
  requireBearerAuth({ verifier, requiredScopes, resourceMetadataUrl, expectedResource: resource })(
    request,
    response,
    next,
  );
}

app.post(resourceServerUrl.pathname, authorize, async (request, response) => {
  const server = createNotesServer();
  // Without sessions: who calls is told by the token of each request, and by nothing else.
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
  response.once('close', () => {
    transport.close();
    server.close();
  });
  await server.connect(transport);
  await transport.handleRequest(request, response, request.body);
});

app.all(resourceServerUrl.pathname, (_request, response) => response.status(405).set('Allow', 'POST').end());

const listened = port || Number(resourceServerUrl.port) || 4000;
app.listen(listened, '127.0.0.1', () => console.log(`listening for ${resource} on port ${listened}`));
