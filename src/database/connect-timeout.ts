/** A handshake takes milliseconds; three tries of TCP (0, 1 and 3 s) have room for one packet lost. */
export const CONNECT_TIMEOUT_MS = 3_000;
