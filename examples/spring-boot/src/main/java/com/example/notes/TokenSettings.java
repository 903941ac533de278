package com.example.notes;

import java.net.URI;
import java.time.Duration;
import java.util.Set;
import org.springframework.boot.context.properties.ConfigurationProperties;

/**
 * What this API knows of its authorization server.
 *
 * @param issuer exactly as its tokens name it in {@code iss}; https, unless it is on this machine
 * @param audience this API's identifier there: tokens for anything else are refused
 * @param introspectionCacheTime how long an answer of {@code /introspect} may be used again, 1 to 30 seconds; what was
 *     revoked is dead after that
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
        boolean introspectJwts) {
    /** Without TLS whoever is on the way makes the keys and the answers: http is for an issuer here, as in development. */
    private static final Set<String> HOSTS_OF_THIS_MACHINE = Set.of("localhost", "127.0.0.1", "[::1]");

    private static final Duration SHORTEST_CACHE_TIME = Duration.ofSeconds(1);
    private static final Duration LONGEST_CACHE_TIME = Duration.ofSeconds(30);

    TokenSettings {
        URI address = URI.create(issuer);
        boolean isOnThisMachine = "http".equals(address.getScheme())
                && address.getHost() != null
                && HOSTS_OF_THIS_MACHINE.contains(address.getHost());
        if (!"https".equals(address.getScheme()) && !isOnThisMachine) {
            throw new IllegalArgumentException("ISSUER wants https, unless it is on this machine");
        }
        if (introspectionCacheTime.compareTo(SHORTEST_CACHE_TIME) < 0
                || introspectionCacheTime.compareTo(LONGEST_CACHE_TIME) > 0) {
            throw new IllegalArgumentException("INTROSPECTION_CACHE_SECONDS wants 1 to 30");
        }
    }
}
