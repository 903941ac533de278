import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { address } from './settings.js';
import { createSignIn, listenForAnswers } from './sign-in.js';

const [url, note] = process.argv.slice(2);
if (url === undefined) {
  console.error(
    'node agent.js URL            list your notes on the server there\nnode agent.js URL "a note"   add one first',
  );
  process.exit(1);
}

const answers = await listenForAnswers();
const signIn = createSignIn({
  clientMetadataUrl: process.env.CLIENT_METADATA_URL,
  clientId: process.env.CLIENT_ID,
  answers,
  show: ({ href }) => console.log(`Open this address in your browser:\n\n  ${href}\n`),
});

/** Does something on the server; where it wants a token, or one that may do more, after the person has signed in. */
async function onServer(work) {
  for (;;) {
    const client = new Client({ name: 'notes-agent', version: '1.0.0' });
    const transport = new StreamableHTTPClientTransport(new URL(address('URL', url)), { authProvider: signIn });
    try {
      await client.connect(transport);
      return await work(client);
    } catch (error) {
      if (!(error instanceof UnauthorizedError)) throw error;
      await transport.finishAuth(await signIn.code());
    } finally {
      await client.close();
    }
  }
}

try {
  if (note !== undefined) await onServer((client) => client.callTool({ name: 'add_note', arguments: { text: note } }));
  const { content } = await onServer((client) => client.callTool({ name: 'list_notes' }));
  console.log(`Your notes: ${content[0].text}`);
} catch (error) {
  console.error(`It did not work: ${error.message}`);
  process.exitCode = 1;
} finally {
  answers.close();
}
