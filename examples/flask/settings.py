"""What this API is told by its environment."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

# Without TLS whoever is on the way makes the keys and the answers: http is for an issuer on this machine, as in development.
HOSTS_OF_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")

# What was revoked is let in for as long.
MOST_CACHE_SECONDS = 30


@dataclass(frozen=True)
class Settings:
    issuer: str
    """The authorization server, exactly as its tokens name it in ``iss``."""
    audience: str
    """This API's identifier there: tokens for anything else are refused."""
    introspection_client_id: str
    introspection_client_secret: str
    introspection_cache_seconds: float
    """How long an answer of ``/introspect`` may be used again; what was revoked is dead after that."""
    introspection_cache_size: int
    """How many answers are kept at most."""
    introspect_jwts: bool
    """Whether JWTs are introspected too, after they have been verified. Else a revoked one lives until it expires."""


def read_settings() -> Settings:
    """:raises SystemExit: with one line that says what is missing or wrong"""
    names = ("ISSUER", "AUDIENCE", "INTROSPECTION_CLIENT_ID", "INTROSPECTION_CLIENT_SECRET")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise SystemExit(f"not set in the environment: {', '.join(missing)}")
    issuer = urlsplit(os.environ["ISSUER"])
    if issuer.scheme != "https" and not (issuer.scheme == "http" and issuer.hostname in HOSTS_OF_THIS_MACHINE):
        raise SystemExit("ISSUER wants https, unless it is on this machine")
    return Settings(
        issuer=os.environ["ISSUER"].rstrip("/"),
        audience=os.environ["AUDIENCE"],
        introspection_client_id=os.environ["INTROSPECTION_CLIENT_ID"],
        introspection_client_secret=os.environ["INTROSPECTION_CLIENT_SECRET"],
        introspection_cache_seconds=_cache_seconds(os.environ.get("INTROSPECTION_CACHE_SECONDS", "10")),
        introspection_cache_size=int(os.environ.get("INTROSPECTION_CACHE_SIZE", "10000")),
        introspect_jwts=os.environ.get("INTROSPECT_JWTS", "false") == "true",
    )


def _cache_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 1 <= seconds <= MOST_CACHE_SECONDS:
        raise SystemExit(f"INTROSPECTION_CACHE_SECONDS wants 1 to {MOST_CACHE_SECONDS}")
    return seconds
