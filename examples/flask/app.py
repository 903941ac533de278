"""An API that takes access tokens of Tessera."""

import requests
from authlib.integrations.flask_oauth2 import ResourceProtector, current_token
from authlib.oauth2.rfc6750 import InsufficientScopeError, InvalidTokenError
from flask import Flask, abort, jsonify, make_response

from access_tokens import AccessTokenValidator
from settings import read_settings


class BearerProtector(ResourceProtector):
    """Refuses as RFC 6750, section 3 wants it: whoever sends no token is told no error, only what is wanted."""

    def raise_error_response(self, error):
        challenge, body = "Bearer", {"error": "unauthorized"}
        if isinstance(error, (InvalidTokenError, InsufficientScopeError)):
            challenge = f'Bearer error="{error.error}", error_description="{error.description}"'
            body = {"error": error.error}
        response = make_response(body, error.status_code)
        response.headers["WWW-Authenticate"] = challenge
        abort(response)


app = Flask(__name__)
require_token = BearerProtector()
require_token.register_token_validator(AccessTokenValidator(read_settings()))


@app.get("/profile")
@require_token
def profile():
    client_id = current_token["client_id"]
    # A client that acts for itself is its own subject.
    return jsonify(sub=current_token.get("sub", client_id), client_id=client_id, scope=current_token.get("scope", ""))


@app.get("/admin")
@require_token("admin", or_role="admin")
def admin():
    return jsonify(message="You may administer this.")


@app.errorhandler(requests.RequestException)
def issuer_away(fault):
    """Without the issuer nobody knows whether a token is good, so nobody is let in, and nobody is told that theirs is bad."""
    app.logger.error("the issuer could not be asked: %s", fault)
    return {"error": "temporarily_unavailable"}, 503, {"Retry-After": "1"}
