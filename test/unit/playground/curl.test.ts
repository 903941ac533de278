import { execFileSync } from 'node:child_process';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { curlCommand, shellQuote } from '../../../src/playground/curl.ts';

/** What a shell makes of a command line: the arguments that the program gets. */
function argumentsOf(command: string): string[] {
  const printed = execFileSync('sh', ['-c', command.replace(/^curl/, "printf '%s\\0'")], { encoding: 'utf8' });
  return printed.split('\0').slice(0, -1);
}

describe('a curl command', () => {
  test('survives a shell, whatever is in its values', () => {
    const values = fc.sample(
      fc.string({ unit: 'binary', maxLength: 30 }).map((value) => value.replaceAll('\0', '').toWellFormed()),
      200,
    );
    values.push("it's", '$(id) `id` $HOME "x" \\', '-d', 'a\nb', '');
    expect(argumentsOf(`curl ${values.map(shellQuote).join(' ')}`)).toEqual(values);
  });

  test('authenticates the client by HTTP Basic and encodes the form', () => {
    const command = curlCommand({
      url: 'http://localhost:3000/token',
      client: { id: 'demo-web', secret: "se'cret" },
      form: { grant_type: 'client_credentials', scope: 'a b', resource: undefined },
    });
    expect(argumentsOf(command)).toEqual([
      '-sS',
      'http://localhost:3000/token',
      '-u',
      "demo-web:se'cret",
      '--data-urlencode',
      'grant_type=client_credentials',
      '--data-urlencode',
      'scope=a b',
    ]);
  });

  test('carries a bearer token in the header, never in the address', () => {
    const command = curlCommand({ url: 'http://localhost:3000/userinfo', bearerToken: 'abc' });
    expect(argumentsOf(command)).toEqual(['-sS', 'http://localhost:3000/userinfo', '-H', 'Authorization: Bearer abc']);
  });
});
