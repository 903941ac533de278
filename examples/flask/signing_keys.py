"""The issuer's public keys (RFC 7517)."""

import time
from threading import Lock

import requests
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

# The issuer publishes a key days before it signs with it, so that a known set is good for a while.
KEEP_SECONDS = 300

# Where the issuer can't be asked by then, known keys are good for as long again: a hiccup there stops nobody here. Not for
# ever: else a withdrawn key lived on for whoever keeps this API from hearing of it.
KEEP_WITHOUT_ISSUER_SECONDS = 600

# A key that is not among them may be a new one: looked for at once, yet no oftener than this, whoever makes up key ids.
LOOK_AGAIN_SECONDS = 10

TIMEOUT_SECONDS = (2, 5)


class SigningKeys:
    def __init__(self, url: str):
        self._url = url
        # Held by the one that asks the issuer. As long as there are usable keys nobody waits for it: whoever makes up key
        # ids while the issuer is slow would stop everybody.
        self._lock = Lock()
        self._known = (KeySet([]), -float("inf"))
        self._asked_at = -float("inf")

    def which_may_have_signed(self, token) -> KeySet:
        """
        The keys among which joserfc finds the one that a token names.

        :raises requests.RequestException: where the issuer can't be asked
        """
        keys, fetched_at = self._known
        age = time.monotonic() - fetched_at
        is_known = token.headers().get("kid") in [key.kid for key in keys]
        if is_known and age < KEEP_SECONDS:
            return keys
        are_usable = age < KEEP_WITHOUT_ISSUER_SECONDS
        try:
            return self._look_again(waits=not are_usable)
        except requests.RequestException:
            if is_known and are_usable:
                return keys
            raise

    def _look_again(self, waits: bool) -> KeySet:
        if not self._lock.acquire(blocking=waits):
            raise requests.RequestException("the issuer is being asked for its keys")
        try:
            if time.monotonic() - self._asked_at >= LOOK_AGAIN_SECONDS:
                # Noted before: a request that fails counts as well.
                self._asked_at = time.monotonic()
                self._known = (self._fetch(), time.monotonic())
            keys, fetched_at = self._known
            if fetched_at < self._asked_at:
                raise requests.RequestException("the issuer's keys could not be had a moment ago")
            return keys
        finally:
            self._lock.release()

    def _fetch(self) -> KeySet:
        response = requests.get(self._url, timeout=TIMEOUT_SECONDS)
        response.raise_for_status()
        try:
            return KeySet.import_key_set(response.json())
        except (JoseError, LookupError, TypeError, ValueError, AttributeError) as fault:
            # The issuer's fault, and no verdict on a token.
            raise requests.RequestException(f"the issuer's keys can't be read: {fault!r}") from fault
