import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { z } from 'zod';

export const READ = 'notes:read';
export const WRITE = 'notes:write';

/** By the account that they belong to. They last as long as the process. */
const notes = new Map();

/** The tools, each with the scopes that its callers need. */
const tools = {
  list_notes: {
    scopes: [READ],
    description: 'Lists the notes of the person who signed in',
    inputSchema: {},
    run: (sub) => JSON.stringify(notes.get(sub) ?? []),
  },
  add_note: {
    scopes: [READ, WRITE],
    description: 'Adds a note',
    inputSchema: { text: z.string().min(1).max(1_000) },
    run(sub, { text }) {
      notes.set(sub, [...(notes.get(sub) ?? []), text]);
      return 'added';
    },
  },
};

/** @param body what was POSTed: one message, or several. @returns the scopes that all of it needs */
export function scopesFor(body) {
  const called = [body].flat().filter((message) => message?.method === 'tools/call');
  const needed = called.flatMap(({ params }) => (Object.hasOwn(tools, params?.name) ? tools[params.name].scopes : []));
  return [...new Set([READ, ...needed])];
}

/** A server for one request; the person is the one whose token came with it. */
export function createNotesServer() {
  const server = new McpServer({ name: 'notes', version: '1.0.0' });
  for (const [name, { scopes, description, inputSchema, run }] of Object.entries(tools)) {
    server.registerTool(name, { description, inputSchema }, (input, { authInfo }) => {
      // Looked at before, too (server.js): here nothing can come past it.
      if (!scopes.every((scope) => authInfo?.scopes.includes(scope))) throw new Error('insufficient_scope');
      return { content: [{ type: 'text', text: run(authInfo.extra.sub, input) }] };
    });
  }
  return server;
}
