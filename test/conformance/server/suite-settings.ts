import { readFileSync } from 'node:fs';
import { z } from 'zod';

const uris = z.array(z.url()).min(1);

/** What a certification suite wants to find, and where it is. */
const settingsSchema = z.strictObject({
  /** The name by which the suite reaches this server; it stands in the issuer and in the certificate. */
  host: z.hostname(),
  port: z.int().min(1).max(65_535),
  mtlsPort: z.int().min(1).max(65_535),
  redirectUris: uris,
  /** Of the second client of each plan, with a query. */
  secondRedirectUris: uris,
  postLogoutRedirectUris: z.array(z.url()).default([]),
  /** Where the suite may be called although it is at no public address: for `jwks_uri` and back-channel logout. */
  privateRanges: z.array(z.string()).default([]),
});

export type SuiteSettings = z.infer<typeof settingsSchema>;

/** @throws with a line for each fault */
export function readSuiteSettings(path: string | URL): SuiteSettings {
  const parsed = settingsSchema.safeParse(JSON.parse(readFileSync(path, 'utf8')));
  if (parsed.success) return parsed.data;
  throw new Error(parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('\n'));
}
