import { X509Certificate } from 'node:crypto';
import { isIP, SocketAddress } from 'node:net';
import { AsnConvert } from '@peculiar/asn1-schema';
import {
  type AttributeTypeAndValue,
  Certificate,
  type GeneralName,
  id_ce_subjectAltName,
  type Name,
  SubjectAlternativeName,
} from '@peculiar/asn1-x509';
import { type DistinguishedName, type NameAttribute, parseDistinguishedName } from './distinguished-name.ts';

/** The members by which a client says whom its certificate names (RFC 8705, section 2.1.2). */
export const SUBJECT_MEMBERS = [
  'tls_client_auth_subject_dn',
  'tls_client_auth_san_dns',
  'tls_client_auth_san_uri',
  'tls_client_auth_san_ip',
  'tls_client_auth_san_email',
] as const;
export type SubjectMember = (typeof SUBJECT_MEMBERS)[number];

/** No wildcard: what is compared is whom a certificate names, not which hosts it would do for. */
const DNS_NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/i;
const EMAIL_ADDRESS = /^[\x21-\x3f\x41-\x7e]+@[A-Za-z0-9.-]+$/;
const URI = /^[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+$/;

const faults: Readonly<Record<SubjectMember, (value: string) => string | undefined>> = {
  tls_client_auth_subject_dn: (value) =>
    parseDistinguishedName(value) === undefined
      ? 'is not a name of RFC 4514, such as CN=client,O=Example (as openssl x509 -noout -subject -nameopt RFC2253 shows it)'
      : undefined,
  tls_client_auth_san_dns: (value) =>
    DNS_NAME.test(value) ? undefined : 'is not a DNS name (a wildcard stands for nobody in particular)',
  tls_client_auth_san_uri: (value) => (URI.test(value) ? undefined : 'is not an absolute URI'),
  tls_client_auth_san_ip: (value) => (normalAddress(value) === undefined ? 'is not an IP address' : undefined),
  tls_client_auth_san_email: (value) => (EMAIL_ADDRESS.test(value) ? undefined : 'is not an e-mail address'),
};

/** Why a value can't be registered, as the rest of a sentence that begins with it; absent when it can. */
export function subjectFault(member: SubjectMember): (value: string) => string | undefined {
  return faults[member];
}

/** Whether a key of a client's JWKS comes with its certificate (RFC 7517, section 4.7): DER in base64, its own first. */
export function hasCertificate(jwk: Readonly<Record<string, unknown>>): boolean {
  const [own]: unknown[] = Array.isArray(jwk.x5c) ? jwk.x5c : [];
  try {
    return typeof own === 'string' && new X509Certificate(Buffer.from(own, 'base64')).raw.length > 0;
  } catch {
    return false;
  }
}

/**
 * Whether a certificate names exactly whom a client registered: its whole subject, or one entry of its alternative names.
 *
 * Compared is what the certificate holds in ASN.1. Printed forms can be made to read as another name (CVE-2021-44532,
 * CVE-2021-44533), and Node's `checkHost` and the like take wildcards.
 *
 * @param certificate DER @returns false, too, where it can't be read
 */
export function matchesSubject(certificate: Uint8Array, member: SubjectMember, expected: string): boolean {
  try {
    const { tbsCertificate } = AsnConvert.parse(certificate, Certificate);
    if (member === 'tls_client_auth_subject_dn') {
      const name = parseDistinguishedName(expected);
      return name !== undefined && matchesName(tbsCertificate.subject, name);
    }
    const names = (tbsCertificate.extensions ?? [])
      .filter(({ extnID }) => extnID === id_ce_subjectAltName)
      .flatMap(({ extnValue }) => [...AsnConvert.parse(extnValue, SubjectAlternativeName)]);
    return names.some((name) => matchesAlternativeName(name, member, expected));
  } catch {
    return false;
  }
}

function matchesAlternativeName(name: GeneralName, member: SubjectMember, expected: string): boolean {
  switch (member) {
    case 'tls_client_auth_san_dns':
      return name.dNSName?.toLowerCase() === expected.toLowerCase();
    case 'tls_client_auth_san_uri':
      return name.uniformResourceIdentifier === expected;
    case 'tls_client_auth_san_ip': {
      const address = normalAddress(expected);
      return address !== undefined && normalAddress(name.iPAddress ?? '') === address;
    }
    case 'tls_client_auth_san_email':
      return name.rfc822Name !== undefined && normalMailbox(name.rfc822Name) === normalMailbox(expected);
    default:
      return false;
  }
}

/** The same address has several forms (RFC 8705, section 2.1.2 refers to RFC 5952). */
function normalAddress(address: string): string | undefined {
  const version = isIP(address);
  if (version === 0 || address.includes('%')) return undefined;
  return new SocketAddress({ address, family: version === 4 ? 'ipv4' : 'ipv6' }).address;
}

/** Only the part behind the @ has no case (RFC 5280, section 7.5). */
function normalMailbox(mailbox: string): string {
  const at = mailbox.lastIndexOf('@');
  return `${mailbox.slice(0, at)}${mailbox.slice(at).toLowerCase()}`;
}

function matchesName(subject: Name, expected: DistinguishedName): boolean {
  const actual = [...subject].reverse();
  return actual.length === expected.length && actual.every((set, index) => matchesSet([...set], expected[index] ?? []));
}

/** A relative name is a set: the order of its attributes says nothing. */
function matchesSet(actual: readonly AttributeTypeAndValue[], expected: readonly NameAttribute[]): boolean {
  const open = [...expected];
  for (const attribute of actual) {
    const index = open.findIndex((candidate) => matchesAttribute(attribute, candidate));
    if (index < 0) return false;
    open.splice(index, 1);
  }
  return open.length === 0;
}

function matchesAttribute({ type, value }: AttributeTypeAndValue, expected: NameAttribute): boolean {
  if (type !== expected.type) return false;
  if ('der' in expected) return expected.der.equals(Buffer.from(AsnConvert.serialize(value)));
  return value.anyValue === undefined && value.toString() === expected.text;
}
