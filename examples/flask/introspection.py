"""Asks the issuer what a token is worth (RFC 7662), and remembers the answer for a moment."""

import hashlib
import math
import time
from threading import Condition
from urllib.parse import quote_plus

import requests
from cachetools import TLRUCache, cached

from settings import Settings

# To connect, and to get an answer.
TIMEOUT_SECONDS = (2, 5)


class Introspection:
    def __init__(self, settings: Settings):
        self._url = f"{settings.issuer}/introspect"
        # RFC 6749, section 2.3.1: encoded before they are joined by a colon.
        self._credentials = (
            quote_plus(settings.introspection_client_id),
            quote_plus(settings.introspection_client_secret),
        )
        self._session = requests.Session()
        # Inactive ones are remembered too, else anybody makes us ask as often as they like. Kept by digest, so that no
        # usable token lies in this memory. One request per token, however many threads want to know at once.
        remember = cached(
            TLRUCache(
                settings.introspection_cache_size,
                ttu=_until(settings.introspection_cache_seconds),
                timer=time.time,
            ),
            key=lambda token, address: (hashlib.sha256(token.encode()).digest(), address),
            condition=Condition(),
        )
        self.ask = remember(self._ask)

    def _ask(self, token: str, address: str | None) -> dict:
        """
        :param address: where an API key was sent from, as a key may be good from some addresses alone; else None
        :raises requests.RequestException: where there is no answer; nothing is remembered then
        """
        question = {"token": token, "ip_address": address}
        response = self._session.post(self._url, data=question, auth=self._credentials, timeout=TIMEOUT_SECONDS)
        response.raise_for_status()
        return response.json()


def _until(seconds: float):
    """When an answer is forgotten: after some seconds, and never later than the token expires."""
    return lambda _digest, answer, now: min(now + seconds, answer.get("exp", math.inf))
