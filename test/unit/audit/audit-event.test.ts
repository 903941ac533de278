import { describe, expect, test } from '@jest/globals';
import { type AuditEvent, auditContextSchema, auditEventSchema } from '../../../src/audit/audit-event.ts';

/** Parts of names under which something that grants access might be written down, or what a person typed. */
const SECRET_LIKE =
  /token|secret|password|passphrase|code|assertion|cookie|credential|authorization|verifier|hint|login|username|email|key$|jwk|jwt|hash|digest|otp|pin|nonce|state/i;

type MemberName<Event> = Event extends unknown ? keyof Event & string : never;
type SecretLikeName =
  `${string}${'token' | 'Token' | 'ecret' | 'assword' | 'ode' | 'ookie' | 'ogin' | 'mail'}${string}`;
type Refused = Extract<MemberName<AuditEvent>, SecretLikeName>;
/** Does not compile when an event gets a member that is named like something secret. */
const refusedNames: [Refused] extends [never] ? 'none' : Refused = 'none';

const example: AuditEvent = { type: 'sign_in.failed', reason: 'unknown_account' };

describe('the members of events', () => {
  test('no member is named like a secret or like something that is typed', () => {
    expect(refusedNames).toBe('none');
    const names = auditEventSchema.options.flatMap((option) => Object.keys(option.shape));
    expect(names.length).toBeGreaterThan(60);
    expect(names.filter((name) => SECRET_LIKE.test(name))).toEqual([]);
  });

  test('no event takes a member that is not its own', () => {
    for (const member of ['password', 'login', 'token', 'clientSecret', 'email', 'anything']) {
      expect(auditEventSchema.safeParse({ ...example, [member]: 'value' }).success).toBe(false);
    }
    for (const option of auditEventSchema.options) {
      const [type] = option.shape.type.values;
      const result = option.safeParse({ type, anything: 'value' });
      expect(result.error?.issues.map((issue) => issue.code)).toContain('unrecognized_keys');
    }
  });

  test('a failed sign-in of an unknown account needs no name, and has no place for one', () => {
    expect(auditEventSchema.parse(example)).toEqual(example);
    const shape = auditEventSchema.options.find((option) => option.shape.type.value === 'sign_in.failed')?.shape;
    expect(Object.keys(shape ?? {}).sort()).toEqual(['accountId', 'clientId', 'reason', 'type']);
  });

  test('a reason is one of the list', () => {
    expect(auditEventSchema.safeParse({ type: 'sign_in.failed', reason: 'hunter2' }).success).toBe(false);
  });

  test('a type is one of the list', () => {
    expect(auditEventSchema.safeParse({ type: 'sign_in.tried' }).success).toBe(false);
  });
});

describe('the values of events', () => {
  test.each(['', 'a\0b', 'a\nb', '\ud800', 'x'.repeat(2_049)])(
    'a name that can not be stored is refused: %j',
    (value) => {
      expect(auditEventSchema.safeParse({ type: 'client.created', clientId: value }).success).toBe(false);
    },
  );

  test('a name may be of any script', () => {
    const event = { type: 'client.created', clientId: 'приложение-😀' };
    expect(auditEventSchema.parse(event)).toEqual(event);
  });

  test('scopes are scope tokens, and bounded in number', () => {
    const granted = (scopes: string[]) =>
      auditEventSchema.safeParse({ type: 'token.refreshed', clientId: 'c', accountId: 'a', grantId: 'g', scopes })
        .success;
    expect(granted(['openid', 'urn:a/b.read'])).toBe(true);
    expect(granted(['two words'])).toBe(false);
    expect(granted(['quo"te'])).toBe(false);
    expect(granted(Array.from({ length: 1_001 }, () => 'a'))).toBe(false);
  });
});

describe('where an event came from', () => {
  test('a request id and an address that make sense are kept', () => {
    const context = { requestId: '01JD-x:y.z', address: '2001:db8::1', actor: { kind: 'operator' } };
    expect(auditContextSchema.parse(context)).toEqual(context);
  });

  test('nonsense sent from outside is left out and stops nothing', () => {
    const context = { requestId: 'a b\0', address: "127.0.0.1'; drop table", actor: { kind: 'client', id: 'shop' } };
    expect(auditContextSchema.parse(context)).toEqual({ actor: { kind: 'client', id: 'shop' } });
  });

  test('an actor that is an account or a client has an id, an operator has none', () => {
    expect(auditContextSchema.safeParse({ actor: { kind: 'account' } }).success).toBe(false);
    expect(auditContextSchema.safeParse({ actor: { kind: 'operator', id: 'x' } }).success).toBe(false);
  });
});
