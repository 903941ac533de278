import { randomUUID } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import * as openid from 'openid-client';
import { tokensFile } from './settings.js';

/** Keeps what has to outlive this run, where this user alone can read it. An app with a keychain at hand puts it there. */
export async function keepTokens({ subject, tokens, refreshToken = tokens.refresh_token }) {
  const expiresAt = Date.now() + (tokens.expiresIn() ?? 0) * 1000;
  const kept = { subject, accessToken: tokens.access_token, refreshToken, expiresAt };
  // A file that is made here: in one that somebody else had put there the mode would not count, and a link leads elsewhere.
  const written = `${tokensFile}.${randomUUID()}`;
  await writeFile(written, JSON.stringify(kept), { mode: 0o600, flag: 'wx' });
  await rename(written, tokensFile);
  return kept;
}

/** @returns what was kept, with an access token that is still good; undefined where nobody is signed in */
export async function currentTokens(issuer) {
  const kept = await readKept();
  if (kept === undefined || kept.expiresAt > Date.now() + 10_000) return kept;
  const tokens = await openid.refreshTokenGrant(issuer, kept.refreshToken);
  // The refresh token of a public client is new each time.
  return keepTokens({ subject: kept.subject, tokens, refreshToken: tokens.refresh_token ?? kept.refreshToken });
}

/** Ends what was kept, at the issuer first: a copy of it is then worth nothing. */
export async function forgetTokens(issuer) {
  const kept = await readKept();
  if (kept === undefined) return;
  await openid.tokenRevocation(issuer, kept.refreshToken);
  await rm(tokensFile);
}

async function readKept() {
  try {
    return JSON.parse(await readFile(tokensFile, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}
