"""The issuer's public keys (RFC 7517)."""

import time
from threading import Lock

import requests
from joserfc.jwk import KeySet

# The issuer publishes a key days before it signs with it, so that a known set is good for a while.
KEEP_SECONDS = 300

# A key that is not among them may be a new one: looked for at once, yet no oftener than this, whoever makes up key ids.
LOOK_AGAIN_SECONDS = 10

TIMEOUT_SECONDS = (2, 5)


class SigningKeys:
    def __init__(self, url: str):
        self._url = url
        self._lock = Lock()
        self._keys = KeySet([])
        self._fetched_at = -float("inf")

    def which_may_have_signed(self, token) -> KeySet:
        """
        The keys among which joserfc finds the one that a token names.

        :raises requests.RequestException: where the issuer can't be asked
        """
        keys = self._younger_than(KEEP_SECONDS)
        if token.headers().get("kid") in [key.kid for key in keys]:
            return keys
        return self._younger_than(LOOK_AGAIN_SECONDS)

    def _younger_than(self, seconds: float) -> KeySet:
        with self._lock:
            if time.monotonic() - self._fetched_at > seconds:
                response = requests.get(self._url, timeout=TIMEOUT_SECONDS)
                response.raise_for_status()
                self._keys = KeySet.import_key_set(response.json())
                self._fetched_at = time.monotonic()
            return self._keys
