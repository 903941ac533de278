import { describe, expect, test } from '@jest/globals';
import { endpointOfPath, loggablePath } from '../../../src/http/endpoint-of-path.ts';

describe('the endpoint of a path', () => {
  test.each([
    ['/token', 'token'],
    ['/authorize', 'authorization'],
    ['/authorize/Q3J5cHRv', 'authorization'],
    ['/interaction/Q3J5cHRv/login', 'interaction'],
    ['/.well-known/openid-configuration', 'discovery'],
    ['/logout/confirm', 'end_session'],
    ['/health/ready', 'health'],
    ['/assets/tessera.css', 'asset'],
    ['/admin/api/v1/clients', 'admin'],
    ['/', 'playground'],
    // The routers let these through.
    ['/token/', 'token'],
    ['/Token', 'token'],
    ['/INTERACTION/Q3J5cHRv', 'interaction'],
  ])('%s is %s', (path, endpoint) => {
    expect(endpointOfPath(path)).toBe(endpoint);
  });

  test.each(['/tokens', '/token//', '/nothing', '/__proto__', '/constructor', '//token', ''])('%s is none', (path) => {
    expect(endpointOfPath(path)).toBeUndefined();
  });
});

describe('a path in the log', () => {
  test.each([
    ['/interaction/abc', '/interaction/:uid'],
    ['/interaction/abc/login', '/interaction/:uid/login'],
    ['/authorize/abc', '/authorize/:uid'],
    ['/device/abc', '/device/:uid'],
    ['/Interaction/abc', '/Interaction/:uid'],
    ['/authorize', '/authorize'],
    ['/.well-known/oauth-authorization-server', '/.well-known/oauth-authorization-server'],
    ['/introspect/eyJhbGciOiJSUzI1NiJ9.e30.c2ln', '/introspect/:value'],
    ['/x/tsk_0123456789abcdef_0123456789', '/x/:value'],
    ['/admin/api/v1/clients', '/admin/api/v1/clients'],
  ])('%s is %s', (path, logged) => {
    expect(loggablePath(path)).toBe(logged);
  });

  test('a path is not logged without end', () => {
    expect(loggablePath(`/${'a/'.repeat(10_000)}`).length).toBeLessThanOrEqual(200);
  });
});
