# Caddy with our configuration, run by a user who owns its data and nothing else.
FROM caddy:2.11-alpine
COPY --chmod=0644 Caddyfile /etc/caddy/Caddyfile
RUN chown -R 1000:1000 /data /config
USER 1000:1000
