package com.example.notes;

import java.time.Duration;
import org.springframework.boot.context.properties.ConfigurationProperties;

/**
 * What this API knows of its authorization server.
 *
 * @param issuer exactly as its tokens name it in {@code iss}
 * @param audience this API's identifier there: tokens for anything else are refused
 * @param introspectionCacheTime how long an answer of {@code /introspect} may be used again; what was revoked is dead
 *     after that
 * @param introspectionCacheSize how many answers are kept at most
 * @param introspectJwts whether JWTs are introspected too, after they have been verified; else a revoked one lives until it
 *     expires
 */
@ConfigurationProperties("notes")
record TokenSettings(
        String issuer,
        String audience,
        String introspectionClientId,
        String introspectionClientSecret,
        Duration introspectionCacheTime,
        long introspectionCacheSize,
        boolean introspectJwts) {}
