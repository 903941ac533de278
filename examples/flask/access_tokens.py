"""Which access tokens are good here: JWTs by the issuer's public keys, all others by asking the issuer."""

import re

from authlib.oauth2.rfc6749 import TokenValidator
from authlib.oauth2.rfc6750 import InsufficientScopeError, InvalidTokenError
from flask import request as current_request
from joserfc import jwt
from joserfc.errors import InvalidClaimError, JoseError
from joserfc.jwt import JWTClaimsRegistry

from introspection import Introspection
from settings import Settings
from signing_keys import SigningKeys

# What Tessera signs with (SIGNING_ALGORITHMS there). All are asymmetric: "none" and HS256 are refused whatever the key.
ALGORITHMS = ["RS256", "ES256", "PS256", "EdDSA"]

CLOCK_TOLERANCE_SECONDS = 15

API_KEY_PREFIX = "tsk_"

# RFC 6750, section 2.1. A proxy or server that joins two Authorization headers puts a comma between them.
BEARER_VALUE = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


class AccessTokenValidator(TokenValidator):
    """Checks bearer tokens for Authlib's ``ResourceProtector``."""

    TOKEN_TYPE = "bearer"

    def __init__(self, settings: Settings):
        super().__init__()
        self._keys = SigningKeys(f"{settings.issuer}/jwks")
        self._introspection = Introspection(settings)
        self._introspects_jwts = settings.introspect_jwts
        for_this_api = {
            "iss": {"essential": True, "value": settings.issuer},
            "aud": {"essential": True, "value": settings.audience},
            "client_id": {"essential": True},
        }
        self._introspected = JWTClaimsRegistry(leeway=CLOCK_TOLERANCE_SECONDS, **for_this_api)
        # RFC 9068, section 2.2.
        also_in_jwts = {name: {"essential": True} for name in ("exp", "iat", "sub", "jti")}
        self._signed = JWTClaimsRegistry(leeway=CLOCK_TOLERANCE_SECONDS, **for_this_api, **also_in_jwts)

    def authenticate_token(self, token_string: str) -> dict:
        """
        :return: what the token says
        :raises InvalidTokenError: where it is no good token for this API
        :raises requests.RequestException: where the issuer can't be asked
        """
        if not BEARER_VALUE.fullmatch(token_string):
            raise InvalidTokenError()
        try:
            claims = self._read_jwt(token_string) if token_string.count(".") == 2 else self._introspect(token_string)
        except JoseError as fault:
            raise InvalidTokenError() from fault
        # It belongs to whoever proves to have a key (DPoP, mTLS). As a bearer token it may be stolen: RFC 9449, section 7.2.
        if "cnf" in claims:
            raise InvalidTokenError()
        return claims

    def validate_token(self, token: dict, scopes, request, or_role: list[str] | None = None) -> None:
        """
        :param or_role: roles of which one does as well; ``ResourceProtector`` makes a list out of a single one
        :raises InsufficientScopeError: where the token has neither the scopes nor such a role
        """
        if not set(or_role or []).isdisjoint(token.get("roles", [])):
            return
        if self.scope_insufficient(token.get("scope"), scopes):
            raise InsufficientScopeError()

    def _read_jwt(self, token_string: str) -> dict:
        """RFC 9068, section 4."""
        token = jwt.decode(token_string, self._keys.which_may_have_signed, algorithms=ALGORITHMS)
        # Else an ID token would do.
        if token.header.get("typ") not in ("at+jwt", "application/at+jwt"):
            raise InvalidClaimError("typ")
        self._signed.validate(token.claims)
        if self._introspects_jwts:
            self._introspect(token_string)
        return token.claims

    def _introspect(self, token_string: str) -> dict:
        """RFC 7662, section 4: that a token is alive doesn't make it one for this API."""
        address = current_request.remote_addr if token_string.startswith(API_KEY_PREFIX) else None
        answer = self._introspection.ask(token_string, address)
        if answer.get("active") is not True:
            raise InvalidTokenError()
        self._introspected.validate(answer)
        return answer
