"""An API that takes access tokens of Tessera."""

from authlib.integrations.flask_oauth2 import current_token
from flask import Flask

from bearer import protect
from settings import read_settings

app = Flask(__name__)
require_token = protect(app, read_settings())


@app.get("/profile")
@require_token
def profile():
    client_id = current_token["client_id"]
    # A client that acts for itself is its own subject.
    subject = current_token.get("sub", client_id)
    return {"sub": subject, "client_id": client_id, "scope": current_token.get("scope", "")}


@app.get("/admin")
@require_token("admin", or_role="admin")
def admin():
    return {"message": "You may administer this."}
