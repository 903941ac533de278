"""Protects the routes of a Flask app by access tokens, and refuses as RFC 6750, section 3 wants it."""

import requests
from authlib.integrations.flask_oauth2 import ResourceProtector
from authlib.oauth2.rfc6750 import InsufficientScopeError, InvalidTokenError
from flask import Flask, abort, make_response

from access_tokens import AccessTokenValidator
from resource_metadata import serve_resource_metadata
from settings import Settings


class BearerProtector(ResourceProtector):
    def __init__(self, metadata_url: str | None):
        super().__init__()
        self._metadata_url = metadata_url

    def raise_error_response(self, error):
        # Whoever sends no token is told no error, only what is wanted.
        parameters, body = {}, {}
        if isinstance(error, (InvalidTokenError, InsufficientScopeError)):
            parameters = {"error": error.error, "error_description": error.description}
            body = {"error": error.error}
        if self._metadata_url:
            parameters["resource_metadata"] = self._metadata_url
        challenge = "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parameters.items())
        response = make_response(body, error.status_code)
        response.headers["WWW-Authenticate"] = challenge.strip()
        abort(response)


def protect(app: Flask, settings: Settings) -> BearerProtector:
    """
    A decorator for routes: ``@require_token`` lets every good token in, ``@require_token("notes:write")`` those that have
    the scope, ``@require_token("admin", or_role="admin")`` those that have the scope or the role. Within such a route Authlib's
    ``current_token`` is what the token says.
    """

    @app.errorhandler(requests.RequestException)
    def issuer_away(fault):
        # Without the issuer nobody knows whether a token is good: nobody is let in, and nobody is told that theirs is bad.
        app.logger.error("the issuer could not be asked: %s", fault)
        return {"error": "temporarily_unavailable"}, 503, {"Retry-After": "1"}

    protector = BearerProtector(serve_resource_metadata(app, settings))
    protector.register_token_validator(AccessTokenValidator(settings))
    return protector
