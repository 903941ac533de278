import { describe, expect, test } from '@jest/globals';
import { joinBearerValues, splitBearerValues } from '../../../src/tokens/bearer-values.ts';
import { realisticArtifacts } from '../../contracts/realistic-artifacts.ts';

describe('bearer values', () => {
  test.each(realisticArtifacts().map((artifact) => [artifact.kind, artifact] as const))(
    'none of a %s stays in the clear part, and all come back',
    (kind, { id, payload, readBack, bearerValues }) => {
      const { json, sealed } = splitBearerValues(kind, id, payload);
      for (const value of bearerValues) expect(json).not.toContain(value);
      expect(joinBearerValues(kind, id, JSON.parse(json), sealed)).toEqual(readBack);
    },
  );

  test('tokens and most kinds have nothing to seal, so that the hot path encrypts nothing', () => {
    const sealing = realisticArtifacts().filter(
      ({ kind, id, payload }) => splitBearerValues(kind, id, payload).sealed.length > 0,
    );
    expect(sealing.map(({ kind }) => kind)).toEqual([
      'Session',
      'Interaction',
      'DeviceCode',
      'BackchannelAuthenticationRequest',
      'PushedAuthorizationRequest',
    ]);
  });

  test('the cookie of the session behind an interaction is not kept, not even sealed', () => {
    const split = splitBearerValues('Interaction', 'uid', { session: { accountId: 'alice', cookie: 'session-id' } });
    expect(JSON.stringify(split)).not.toContain('session-id');
  });

  test('a value in an unforeseen place seals the whole payload', () => {
    const payload = { jti: 'value-of-token', extra: { copy: 'value-of-token' } };
    const { json, sealed } = splitBearerValues('AccessToken', 'value-of-token', payload);
    expect(json).toBe('{}');
    expect(joinBearerValues('AccessToken', 'value-of-token', {}, sealed)).toEqual(payload);
  });

  test('without the presented value there is no jti, and a device code has its own', () => {
    const session = splitBearerValues('Session', 'cookie', { jti: 'cookie', uid: 'u' });
    expect(joinBearerValues('Session', undefined, JSON.parse(session.json), session.sealed)).toEqual({ uid: 'u' });
    const code = splitBearerValues('DeviceCode', 'device', { jti: 'device', userCode: 'WDJB' });
    expect(joinBearerValues('DeviceCode', undefined, JSON.parse(code.json), code.sealed)).toEqual({
      jti: 'device',
      userCode: 'WDJB',
    });
  });
});
