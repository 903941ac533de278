"""Read by gunicorn from the folder in which it starts."""

import os

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '4000')}"

# One process has one cache of introspections; each further worker has its own and asks for itself.
workers = 1
threads = 8

# Settings that won't do end it at once, instead of one worker after the other.
preload_app = True

# Nobody steers it from outside, so that two of them on one machine don't meet there.
control_socket_disable = True
