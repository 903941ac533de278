# The server and its command line in one image:
#   docker run IMAGE                      serves (needs ISSUER, DATABASE_URL, KEY_ENCRYPTION_KEY: see .env.example)
#   docker run IMAGE tessera migrate up   brings the database schema up to date
# It writes no file: the root filesystem may be read-only.

FROM node:24.21-trixie-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# Without the embedded database and what only development needs.
RUN npm ci --omit=dev --omit=optional --no-audit --no-fund
COPY knexfile.ts ./
COPY config ./config
COPY migrations ./migrations
COPY src ./src
COPY views ./views
# The checkout may be private to its owner; the image is read by another user, and written by none.
RUN chmod -R a+rX,go-w . \
  && mkdir bin \
  && command="$(node -p 'require("./package.json").bin.tessera')" \
  && chmod a+x "$command" \
  && ln -s "../$command" bin/tessera

FROM node:24.21-trixie-slim
ENV NODE_ENV=production \
  PATH=/app/bin:$PATH
WORKDIR /app
COPY --from=build /app ./
USER node
EXPOSE 3000 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["node", "-e", "const tls = Boolean(process.env.TLS_CERT_FILE); if (tls) process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'; fetch((tls ? 'https' : 'http') + '://127.0.0.1:' + (process.env.PORT || 3000) + '/health/ready').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "/app/src/main.ts"]
