import { describe, expect, test } from '@jest/globals';
import { AttributeTypeAndValue, AttributeValue } from '@peculiar/asn1-x509';
import {
  hasCertificate,
  matchesSubject,
  type SubjectMember,
  subjectFault,
} from '../../../src/clients/certificate-subject.ts';
import { attribute, createCertificate, OID, type Subject, subjectOf } from '../../harness/certificates.ts';

function namesSubject(subject: Subject, expected: string): boolean {
  return matchesSubject(createCertificate({ subject }).der, 'tls_client_auth_subject_dn', expected);
}

describe('a subject is compared whole', () => {
  const subject = subjectOf(attribute(OID.DC, 'net'), attribute(OID.O, 'Example'), attribute(OID.CN, 'orders'));

  test('with the most specific name first, as RFC 4514 writes it', () => {
    expect(namesSubject(subject, 'CN=orders,O=Example,DC=net')).toBe(true);
    expect(namesSubject(subject, 'cn=orders,2.5.4.10=Example,dc=net')).toBe(true);
  });

  test.each([
    ['another value', 'CN=order,O=Example,DC=net'],
    ['another case', 'CN=Orders,O=Example,DC=net'],
    ['a part of it', 'CN=orders,O=Example'],
    ['its end', 'O=Example,DC=net'],
    ['more than it', 'CN=orders,O=Example,DC=net,C=DE'],
    ['more within it', 'CN=orders,O=Example,DC=example,DC=net'],
    ['more in one of its sets', 'CN=orders+OU=Sales,O=Example,DC=net'],
    ['the order of the certificate', 'DC=net,O=Example,CN=orders'],
    ['the same values in one set', 'CN=orders+O=Example,DC=net'],
    ['another attribute', 'OU=orders,O=Example,DC=net'],
  ])('%s is another name', (_what, expected) => {
    expect(namesSubject(subject, expected)).toBe(false);
  });

  test('a value that looks like several attributes stays one value', () => {
    const forged = subjectOf(attribute(OID.CN, 'orders,O=Example,DC=net'));
    expect(namesSubject(forged, 'CN=orders,O=Example,DC=net')).toBe(false);
    expect(namesSubject(forged, 'CN=orders\\,O=Example\\,DC=net')).toBe(true);
    expect(namesSubject(subjectOf(attribute(OID.CN, 'orders\nO=Example')), 'CN=orders,O=Example')).toBe(false);
    expect(namesSubject(subjectOf(attribute(OID.CN, 'orders\0.evil.example')), 'CN=orders')).toBe(false);
  });

  test('attributes of one set come in any order, each counted', () => {
    const set = [[attribute(OID.CN, 'orders'), attribute(OID.OU, 'Sales')]];
    expect(namesSubject(set, 'CN=orders+OU=Sales')).toBe(true);
    expect(namesSubject(set, 'OU=Sales+CN=orders')).toBe(true);
    expect(namesSubject(set, 'CN=orders+CN=orders')).toBe(false);
    expect(namesSubject(set, 'CN=orders')).toBe(false);
  });

  test('whichever string type a value has, its characters count, and its DER where DER was registered', () => {
    const printable = new AttributeTypeAndValue({
      type: OID.CN,
      value: new AttributeValue({ printableString: 'orders' }),
    });
    const inUtf8 = `CN=#0c06${Buffer.from('orders').toString('hex')}`;
    expect(namesSubject([[printable]], 'CN=orders')).toBe(true);
    expect(namesSubject([[printable]], inUtf8)).toBe(false);
    expect(namesSubject(subjectOf(attribute(OID.CN, 'orders')), inUtf8)).toBe(true);
    expect(
      namesSubject(subjectOf(attribute(OID.organizationIdentifier, 'VATDE-1')), 'organizationIdentifier=VATDE-1'),
    ).toBe(true);
  });
});

describe('an alternative name is compared entry by entry', () => {
  const { der } = createCertificate({
    subject: subjectOf(attribute(OID.CN, 'common.example.com')),
    alternativeNames: [
      { dNSName: '*.example.com' },
      { dNSName: 'orders.example.com' },
      { dNSName: 'evil.example\0.orders.example.org' },
      { uniformResourceIdentifier: 'spiffe://example.com/orders' },
      { uniformResourceIdentifier: 'https://a.example/?, DNS:comma.example.com' },
      { iPAddress: '192.0.2.7' },
      { iPAddress: '2001:db8::7' },
      { rfc822Name: 'orders@example.com' },
    ],
  });

  test.each<[SubjectMember, string]>([
    ['tls_client_auth_san_dns', 'orders.example.com'],
    ['tls_client_auth_san_dns', 'Orders.Example.COM'],
    ['tls_client_auth_san_uri', 'spiffe://example.com/orders'],
    ['tls_client_auth_san_ip', '192.0.2.7'],
    ['tls_client_auth_san_ip', '2001:0DB8:0:0::7'],
    ['tls_client_auth_san_email', 'orders@EXAMPLE.com'],
  ])('%s %s matches', (member, expected) => {
    expect(matchesSubject(der, member, expected)).toBe(true);
  });

  test.each<[SubjectMember, string, string]>([
    ['tls_client_auth_san_dns', 'billing.example.com', 'a wildcard stands for nobody'],
    ['tls_client_auth_san_dns', 'example.com', 'a part is not the whole'],
    ['tls_client_auth_san_dns', 'orders.example.org', 'what follows a NUL counts'],
    ['tls_client_auth_san_dns', 'evil.example', 'what comes before a NUL is not all'],
    ['tls_client_auth_san_dns', 'comma.example.com', 'a printed form says nothing (CVE-2021-44532)'],
    ['tls_client_auth_san_dns', 'common.example.com', 'the common name is no alternative name'],
    ['tls_client_auth_san_dns', '192.0.2.7', 'an address is no name'],
    ['tls_client_auth_san_uri', 'spiffe://example.com/orders/', 'a URI is compared to the letter'],
    ['tls_client_auth_san_uri', 'orders.example.com', 'each kind is compared with its own kind'],
    ['tls_client_auth_san_ip', '192.0.2.8', 'another address'],
    ['tls_client_auth_san_ip', 'no address', 'no address is equal to no address'],
    ['tls_client_auth_san_email', 'Orders@example.com', 'before the @ the case counts'],
    ['tls_client_auth_subject_dn', 'CN=orders.example.com', 'an alternative name is no subject'],
  ])('%s %s does not: %s', (member, expected) => {
    expect(matchesSubject(der, member, expected)).toBe(false);
  });

  test('a certificate without alternative names, or that can’t be read, matches nothing', () => {
    expect(matchesSubject(createCertificate().der, 'tls_client_auth_san_dns', 'orders.example.com')).toBe(false);
    expect(matchesSubject(Buffer.from('nonsense'), 'tls_client_auth_san_dns', 'orders.example.com')).toBe(false);
  });
});

describe('what can be registered', () => {
  test.each<[SubjectMember, string, string]>([
    ['tls_client_auth_subject_dn', 'orders', 'is not a name of RFC 4514'],
    ['tls_client_auth_san_dns', '*.example.com', 'is not a DNS name'],
    ['tls_client_auth_san_uri', 'orders', 'is not an absolute URI'],
    ['tls_client_auth_san_ip', '192.0.2.0/24', 'is not an IP address'],
    ['tls_client_auth_san_ip', 'fe80::1%eth0', 'is not an IP address'],
    ['tls_client_auth_san_email', 'orders', 'is not an e-mail address'],
  ])('%s %s is refused', (member, value, reason) => {
    expect(subjectFault(member)(value)).toContain(reason);
  });

  test.each<[SubjectMember, string]>([
    ['tls_client_auth_subject_dn', 'CN=orders,O=Example'],
    ['tls_client_auth_san_dns', 'orders.example.com'],
    ['tls_client_auth_san_uri', 'spiffe://example.com/orders'],
    ['tls_client_auth_san_ip', '2001:db8::7'],
    ['tls_client_auth_san_email', 'orders@example.com'],
  ])('%s %s is taken', (member, value) => {
    expect(subjectFault(member)(value)).toBeUndefined();
  });

  test('a key has its certificate where x5c begins with one', () => {
    expect(hasCertificate(createCertificate().jwk)).toBe(true);
    for (const x5c of [undefined, [], [7], ['bm8gY2VydGlmaWNhdGU='], 'MIIB'])
      expect(hasCertificate({ x5c })).toBe(false);
  });
});
