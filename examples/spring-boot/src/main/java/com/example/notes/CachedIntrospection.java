package com.example.notes;

import com.github.benmanes.caffeine.cache.Cache;
import com.github.benmanes.caffeine.cache.Caffeine;
import com.github.benmanes.caffeine.cache.Expiry;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.time.Instant;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import org.springframework.security.oauth2.core.OAuth2AuthenticatedPrincipal;
import org.springframework.security.oauth2.core.OAuth2TokenIntrospectionClaimAccessor;
import org.springframework.security.oauth2.server.resource.introspection.BadOpaqueTokenException;
import org.springframework.security.oauth2.server.resource.introspection.OAuth2IntrospectionAuthenticatedPrincipal;
import org.springframework.security.oauth2.server.resource.introspection.OpaqueTokenIntrospector;
import org.springframework.security.oauth2.server.resource.introspection.SpringOpaqueTokenIntrospector;

/** Asks the issuer what a token is worth (RFC 7662), and remembers the answer for a moment. */
final class CachedIntrospection implements OpaqueTokenIntrospector {
    private final TokenSettings settings;
    private final OpaqueTokenIntrospector issuer;

    /** What is behind a token; empty where it is no good one. Without that anybody makes us ask as often as they like. */
    private final Cache<String, Optional<OAuth2AuthenticatedPrincipal>> answers;

    CachedIntrospection(TokenSettings settings) {
        this.settings = settings;
        SpringOpaqueTokenIntrospector introspector = SpringOpaqueTokenIntrospector
                .withIntrospectionUri(settings.issuer() + "/introspect")
                .clientId(settings.introspectionClientId())
                .clientSecret(settings.introspectionClientSecret())
                .build();
        introspector.setAuthenticationConverter(this::principalOf);
        this.issuer = introspector;
        this.answers = Caffeine.newBuilder()
                .maximumSize(settings.introspectionCacheSize())
                .executor(Runnable::run)
                .expireAfter(Expiry.creating((String digest, Optional<OAuth2AuthenticatedPrincipal> answer) -> timeToKeep(answer)))
                .build();
    }

    /** One request per token, however many threads want to know at once. Where there is no answer, nothing is remembered. */
    @Override
    public OAuth2AuthenticatedPrincipal introspect(String token) {
        return answers.get(digestOf(token), (digest) -> ask(token))
                .orElseThrow(() -> new BadOpaqueTokenException("The token is not active, or not for this API"));
    }

    private Optional<OAuth2AuthenticatedPrincipal> ask(String token) {
        try {
            return Optional.of(issuer.introspect(token));
        } catch (BadOpaqueTokenException inactive) {
            return Optional.empty();
        }
    }

    /** Section 4: that a token is alive doesn't make it one for this API. */
    private OAuth2AuthenticatedPrincipal principalOf(OAuth2TokenIntrospectionClaimAccessor token) {
        List<String> audience = token.getAudience();
        if (!settings.issuer().equals(token.getClaimAsString("iss")) || audience == null || !audience.contains(settings.audience())) {
            throw new BadOpaqueTokenException("The token is not for this API");
        }
        // It belongs to whoever proves to have a key (DPoP, mTLS). As a bearer token it may be stolen.
        if (token.hasClaim("cnf")) throw new BadOpaqueTokenException("The token is bound to a key");
        List<String> scopes = token.getScopes();
        List<String> roles = token.getClaimAsStringList("roles");
        return new OAuth2IntrospectionAuthenticatedPrincipal(
                token.getClaims(),
                Authorities.of(scopes == null ? List.of() : scopes, roles == null ? List.of() : roles));
    }

    /** Never longer than the token lives. */
    private Duration timeToKeep(Optional<OAuth2AuthenticatedPrincipal> answer) {
        Duration longest = settings.introspectionCacheTime();
        Instant expiresAt = answer.<Instant>map((principal) -> principal.getAttribute("exp")).orElse(Instant.MAX);
        Instant now = Instant.now();
        if (expiresAt.isAfter(now.plus(longest))) return longest;
        return expiresAt.isAfter(now) ? Duration.between(now, expiresAt) : Duration.ZERO;
    }

    /** The key of the cache, so that no usable token lies in this memory. */
    private static String digestOf(String token) {
        try {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(token.getBytes(StandardCharsets.UTF_8));
            return HexFormat.of().formatHex(digest);
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException(impossible);
        }
    }
}
