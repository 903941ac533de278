"""What a client may know of this API before it has a token: above all where to get one (RFC 9728)."""

from urllib.parse import urlsplit

from flask import Flask

from settings import HOSTS_OF_THIS_MACHINE, Settings


def serve_resource_metadata(app: Flask, settings: Settings) -> str | None:
    """
    Answers with the description of this API where its identifier says that it is. That has to be a URL: for a URN nobody
    would know where to look.

    :returns: the address of the description, which each challenge names; None for a URN
    """
    resource = urlsplit(settings.audience)
    is_on_this_machine = resource.scheme == "http" and resource.hostname in HOSTS_OF_THIS_MACHINE
    if resource.scheme != "https" and not is_on_this_machine:
        return None
    # Section 3.1: before the path of the resource, where that has one.
    path = "/.well-known/oauth-protected-resource" + (resource.path if resource.path != "/" else "")
    document = {
        "resource": settings.audience,
        "authorization_servers": [settings.issuer],
        "bearer_methods_supported": ["header"],
    }
    app.add_url_rule(path, "resource_metadata", lambda: document)
    return resource._replace(path=path, fragment="").geturl()
