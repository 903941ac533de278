import type { Profile } from './account-schema.ts';

export type { Profile };

/** A person, as everyone but the password check sees them. Frozen: it may be shared between requests. */
export type Account = Readonly<{
  /** Becomes `sub`: 122 random bits (UUID v4), stable, never given to anyone else. */
  id: string;
  email: string;
  isEmailVerified: boolean;
  username?: string | undefined;
  /** A disabled account is found, and must be refused by whoever finds it. */
  isDisabled: boolean;
  isDemo: boolean;
  profile: Readonly<Profile>;
  /** What APIs are told that the person is (src/roles.ts). */
  roles: readonly string[];
  createdAt: Date;
  updatedAt: Date;
}>;
