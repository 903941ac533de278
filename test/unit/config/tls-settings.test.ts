import { describe, expect, test } from '@jest/globals';
import { loadConfig } from '../../../src/config/index.ts';
import { faultsOf } from '../../harness/config-faults.ts';

const FILES = { TLS_CERT_FILE: '/tls/cert.pem', TLS_KEY_FILE: '/tls/key.pem' };
const MTLS = { ...FILES, MTLS_PORT: '3443' };
const PROXY = { TRUST_PROXY: '10.0.0.1', MTLS_BASE_URL: 'https://mtls.example.com' };

describe('TLS', () => {
  test('is off unless it has files, and mutual TLS too', () => {
    expect(loadConfig({})).toMatchObject({ tls: undefined, mtls: undefined, issuer: 'http://localhost:3000' });
  });

  test('has a certificate and its key, and an issuer that is https by itself', () => {
    expect(loadConfig(FILES)).toMatchObject({
      tls: { certFile: '/tls/cert.pem', keyFile: '/tls/key.pem' },
      issuer: 'https://localhost:3000',
      isSecure: true,
      mtls: undefined,
    });
    expect(loadConfig({ ...FILES, PORT: '443' }).issuer).toBe('https://localhost');
  });
});

describe('mutual TLS', () => {
  test('that this server ends is at the issuer’s host and its own port, unless told otherwise', () => {
    expect(loadConfig({ ...MTLS, ISSUER: 'https://id.example.com' }).mtls).toEqual({
      baseUrl: 'https://id.example.com:3443',
      verifiesChains: false,
      source: { kind: 'port', port: 3443, caFile: undefined },
    });
    expect(
      loadConfig({ ...MTLS, MTLS_CA_FILE: '/tls/clients.pem', MTLS_BASE_URL: 'https://mtls.example.com' }).mtls,
    ).toEqual({
      baseUrl: 'https://mtls.example.com',
      verifiesChains: true,
      source: { kind: 'port', port: 3443, caFile: '/tls/clients.pem' },
    });
  });

  test('that a proxy ends has the header of RFC 9440, and verifies where it can say so', () => {
    expect(loadConfig(PROXY).mtls).toEqual({
      baseUrl: 'https://mtls.example.com',
      verifiesChains: false,
      source: { kind: 'header', certificate: 'client-cert', verified: undefined },
    });
    const named = { CLIENT_CERT_HEADER: 'X-SSL-Cert', CLIENT_CERT_VERIFIED_HEADER: 'X-SSL-Verify' };
    expect(loadConfig({ ...PROXY, ...named }).mtls).toMatchObject({
      verifiesChains: true,
      source: { certificate: 'x-ssl-cert', verified: 'x-ssl-verify' },
    });
  });
});

test.each<[string, Record<string, string>, string]>([
  ['a certificate without its key', { TLS_CERT_FILE: '/tls/cert.pem' }, 'TLS_KEY_FILE wants the private key'],
  ['a key without its certificate', { TLS_KEY_FILE: '/tls/key.pem' }, 'TLS_CERT_FILE wants the certificate'],
  ['TLS under an http issuer', { ...FILES, ISSUER: 'http://localhost:3000' }, 'ISSUER wants https'],
  ['a port for certificates without TLS', { MTLS_PORT: '3443' }, 'MTLS_PORT wants TLS_CERT_FILE'],
  ['one port for all', { ...FILES, MTLS_PORT: '3000' }, 'MTLS_PORT wants another port than PORT'],
  ['a port that is none', { ...FILES, MTLS_PORT: '70000' }, 'MTLS_PORT wants a whole number'],
  ['authorities without the port', { ...FILES, MTLS_CA_FILE: '/tls/clients.pem' }, 'MTLS_CA_FILE wants MTLS_PORT'],
  ['a proxy that nobody trusts', { MTLS_BASE_URL: PROXY.MTLS_BASE_URL }, 'MTLS_BASE_URL wants TRUST_PROXY'],
  ['an http address', { ...PROXY, MTLS_BASE_URL: 'http://mtls.example.com' }, 'MTLS_BASE_URL wants an https origin'],
  ['an address with a path', { ...PROXY, MTLS_BASE_URL: 'https://a.example/b' }, 'MTLS_BASE_URL wants an https origin'],
  ['no name of a header', { ...PROXY, CLIENT_CERT_HEADER: 'Client Cert' }, 'CLIENT_CERT_HEADER wants the name'],
  [
    'a verdict of a proxy where this server verifies',
    { ...MTLS, CLIENT_CERT_VERIFIED_HEADER: 'X-Verified' },
    'CLIENT_CERT_VERIFIED_HEADER has no meaning beside MTLS_PORT',
  ],
  [
    'a verdict on nothing',
    { TRUST_PROXY: '10.0.0.1', CLIENT_CERT_VERIFIED_HEADER: 'X-Verified' },
    'CLIENT_CERT_VERIFIED_HEADER wants MTLS_BASE_URL',
  ],
  [
    'a certificate that is its own verdict',
    { ...PROXY, CLIENT_CERT_VERIFIED_HEADER: 'client-CERT' },
    'CLIENT_CERT_VERIFIED_HEADER wants another header',
  ],
])('%s is refused', (_what, environment, line) => {
  expect(faultsOf(environment)).toEqual([expect.stringContaining(line)]);
});
