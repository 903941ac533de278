/** Certificates made on the spot, good and bad ones, by the ASN.1 of RFC 5280. */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  BasicConstraints,
  Certificate,
  ExtendedKeyUsage,
  Extension,
  Extensions,
  GeneralName,
  id_ce_basicConstraints,
  id_ce_extKeyUsage,
  id_ce_subjectAltName,
  id_kp_clientAuth,
  id_kp_serverAuth,
  Name,
  RelativeDistinguishedName,
  SubjectAlternativeName,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
} from '@peculiar/asn1-x509';

const DAY_MS = 24 * 60 * 60 * 1000;
const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';
const VERSION_3 = 2;
export const OID = {
  CN: '2.5.4.3',
  O: '2.5.4.10',
  OU: '2.5.4.11',
  DC: '0.9.2342.19200300.100.1.25',
  organizationIdentifier: '2.5.4.97',
} as const;

/** Sets of attributes in the order of the certificate: the least specific first. */
export type Subject = readonly (readonly AttributeTypeAndValue[])[];

export type TestCertificate = Readonly<{
  /** PEM, with what is between it and its authority. */
  cert: string;
  /** PEM. */
  key: string;
  der: Buffer;
  /** RFC 8705, section 3.1. */
  thumbprint: string;
  /** As a client registers it (RFC 8705, section 2.2.2). */
  jwk: Record<string, unknown>;
  subject: Name;
  privateKey: KeyObject;
}>;

export type CertificateRequest = {
  subject?: Subject;
  alternativeNames?: readonly Partial<GeneralName>[];
  /** Who signs; absent: it is signed by itself. */
  issuer?: TestCertificate;
  isAuthority?: boolean;
  usage?: 'client' | 'server';
  validFrom?: Date;
  validUntil?: Date;
  /** Absent: a new one on P-256. */
  keyPair?: { publicKey: KeyObject; privateKey: KeyObject };
};

export function attribute(type: string, text: string): AttributeTypeAndValue {
  return new AttributeTypeAndValue({ type, value: new AttributeValue({ utf8String: text }) });
}

/** A name of one attribute, or of several from the least specific one on. */
export function subjectOf(...attributes: readonly AttributeTypeAndValue[]): Subject {
  return attributes.map((it) => [it]);
}

export function createCertificate(request: CertificateRequest = {}): TestCertificate {
  const { issuer, isAuthority = false, usage = 'client' } = request;
  const { publicKey, privateKey } = request.keyPair ?? generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const subject = toName(request.subject ?? subjectOf(attribute(OID.CN, `test ${randomBytes(6).toString('hex')}`)));
  const { alternativeNames = [] } = request;
  const signature = new AlgorithmIdentifier({ algorithm: ECDSA_WITH_SHA256 });
  const tbsCertificate = new TBSCertificate({
    version: VERSION_3,
    serialNumber: exact(Buffer.concat([Buffer.of(1), randomBytes(15)])),
    signature,
    issuer: issuer?.subject ?? subject,
    validity: new Validity({
      notBefore: request.validFrom ?? new Date(Date.now() - DAY_MS),
      notAfter: request.validUntil ?? new Date(Date.now() + 30 * DAY_MS),
    }),
    subject,
    subjectPublicKeyInfo: AsnConvert.parse(publicKey.export({ type: 'spki', format: 'der' }), SubjectPublicKeyInfo),
    extensions: new Extensions([
      extension(id_ce_basicConstraints, new BasicConstraints({ cA: isAuthority }), true),
      ...(isAuthority
        ? []
        : [
            extension(
              id_ce_extKeyUsage,
              new ExtendedKeyUsage([usage === 'client' ? id_kp_clientAuth : id_kp_serverAuth]),
            ),
          ]),
      ...(alternativeNames.length === 0
        ? []
        : [
            extension(
              id_ce_subjectAltName,
              new SubjectAlternativeName(alternativeNames.map((name) => new GeneralName(name))),
            ),
          ]),
    ]),
  });
  const signed = Buffer.from(AsnConvert.serialize(tbsCertificate));
  const signatureValue = exact(sign('sha256', signed, issuer?.privateKey ?? privateKey));
  const der = Buffer.from(
    AsnConvert.serialize(new Certificate({ tbsCertificate, signatureAlgorithm: signature, signatureValue })),
  );
  return {
    cert: toPem(der),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    der,
    thumbprint: createHash('sha256').update(der).digest('base64url'),
    jwk: { ...publicKey.export({ format: 'jwk' }), x5c: [der.toString('base64')] },
    subject,
    privateKey,
  };
}

/** An authority that others are made by. */
export function createAuthority(name = 'Test Authority'): TestCertificate {
  return createCertificate({ subject: subjectOf(attribute(OID.CN, name)), isAuthority: true });
}

/** The certificate of a server on this machine. */
export function createServerCertificate(request: CertificateRequest = {}): TestCertificate {
  return createCertificate({
    usage: 'server',
    alternativeNames: [{ dNSName: 'localhost' }, { iPAddress: '127.0.0.1' }],
    ...request,
  });
}

function toName(subject: Subject): Name {
  return new Name(subject.map((set) => new RelativeDistinguishedName([...set])));
}

function extension(extnID: string, value: object, critical = false): Extension {
  return new Extension({ extnID, critical, extnValue: new OctetString(AsnConvert.serialize(value)) });
}

function exact(bytes: Buffer): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

function toPem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
