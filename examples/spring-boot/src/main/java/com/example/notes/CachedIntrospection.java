package com.example.notes;

import com.github.benmanes.caffeine.cache.AsyncCache;
import com.github.benmanes.caffeine.cache.Caffeine;
import com.github.benmanes.caffeine.cache.Expiry;
import java.net.URI;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.time.Instant;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.springframework.http.MediaType;
import org.springframework.http.RequestEntity;
import org.springframework.http.client.SimpleClientHttpRequestFactory;
import org.springframework.http.client.support.BasicAuthenticationInterceptor;
import org.springframework.security.oauth2.core.OAuth2AuthenticatedPrincipal;
import org.springframework.security.oauth2.core.OAuth2TokenIntrospectionClaimAccessor;
import org.springframework.security.oauth2.server.resource.introspection.BadOpaqueTokenException;
import org.springframework.security.oauth2.server.resource.introspection.OAuth2IntrospectionAuthenticatedPrincipal;
import org.springframework.security.oauth2.server.resource.introspection.OAuth2IntrospectionException;
import org.springframework.security.oauth2.server.resource.introspection.OpaqueTokenIntrospector;
import org.springframework.security.oauth2.server.resource.introspection.SpringOpaqueTokenIntrospector;
import org.springframework.util.LinkedMultiValueMap;
import org.springframework.util.MultiValueMap;
import org.springframework.web.client.RestTemplate;
import org.springframework.web.context.request.RequestContextHolder;
import org.springframework.web.context.request.ServletRequestAttributes;

/** Asks the issuer what a token is worth (RFC 7662), and remembers the answer for a moment. */
final class CachedIntrospection implements OpaqueTokenIntrospector {
    private static final String API_KEY_PREFIX = "tsk_";

    private final TokenSettings settings;
    private final OpaqueTokenIntrospector issuer;

    /** What is behind a token; empty where it is no good one. Without that anybody makes us ask as often as they like. */
    private final AsyncCache<String, Optional<OAuth2AuthenticatedPrincipal>> answers;

    CachedIntrospection(TokenSettings settings) {
        this.settings = settings;
        String endpoint = settings.issuer() + "/introspect";
        SpringOpaqueTokenIntrospector introspector = new SpringOpaqueTokenIntrospector(endpoint, authenticated(settings));
        introspector.setRequestEntityConverter((token) -> questionAbout(token, URI.create(endpoint)));
        introspector.setAuthenticationConverter(this::principalOf);
        this.issuer = introspector;
        this.answers = Caffeine.newBuilder()
                .maximumSize(settings.introspectionCacheSize())
                // Evicts at once, instead of when a thread is free for it.
                .executor(Runnable::run)
                .expireAfter(Expiry.creating((String key, Optional<OAuth2AuthenticatedPrincipal> answer) -> timeToKeep(answer)))
                .buildAsync();
    }

    /** One request per token, however many threads want to know at once. Where there is no answer, nothing is remembered. */
    @Override
    public OAuth2AuthenticatedPrincipal introspect(String token) {
        return answerAbout(token)
                .orElseThrow(() -> new BadOpaqueTokenException("The token is not active, or not for this API"));
    }

    /** Asked outside of the cache's own locks, by which requests with other tokens would wait for this answer. */
    private Optional<OAuth2AuthenticatedPrincipal> answerAbout(String token) {
        CompletableFuture<Optional<OAuth2AuthenticatedPrincipal>> ours = new CompletableFuture<>();
        CompletableFuture<Optional<OAuth2AuthenticatedPrincipal>> before = answers.asMap().putIfAbsent(keyOf(token), ours);
        // On this thread, which knows where an API key was sent from.
        if (before == null) ours.completeAsync(() -> ask(token), Runnable::run);
        try {
            return (before == null ? ours : before).join();
        } catch (CompletionException failure) {
            if (failure.getCause() instanceof OAuth2IntrospectionException away) throw away;
            throw failure;
        }
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
                // A client that acts for itself is its own subject.
                token.getSubject() == null ? token.getClientId() : token.getSubject(),
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

    /** HTTP Basic, each part encoded before they are joined by a colon (RFC 6749, section 2.3.1), and an end to waiting. */
    private static RestTemplate authenticated(TokenSettings settings) {
        SimpleClientHttpRequestFactory requests = new SimpleClientHttpRequestFactory();
        requests.setConnectTimeout(Duration.ofSeconds(2));
        requests.setReadTimeout(Duration.ofSeconds(5));
        RestTemplate issuer = new RestTemplate(requests);
        issuer.getInterceptors().add(new BasicAuthenticationInterceptor(
                URLEncoder.encode(settings.introspectionClientId(), StandardCharsets.UTF_8),
                URLEncoder.encode(settings.introspectionClientSecret(), StandardCharsets.UTF_8)));
        return issuer;
    }

    private static RequestEntity<?> questionAbout(String token, URI endpoint) {
        MultiValueMap<String, String> question = new LinkedMultiValueMap<>();
        question.add("token", token);
        addressOfKey(token).ifPresent((address) -> question.add("ip_address", address));
        return RequestEntity.post(endpoint).accept(MediaType.APPLICATION_JSON).body(question);
    }

    /** Where an API key was sent from, as a key may be good from some addresses alone. */
    private static Optional<String> addressOfKey(String token) {
        return token.startsWith(API_KEY_PREFIX)
                && RequestContextHolder.getRequestAttributes() instanceof ServletRequestAttributes attributes
                ? Optional.of(attributes.getRequest().getRemoteAddr())
                : Optional.empty();
    }

    /** By digest, so that no usable token lies in this memory. */
    private static String keyOf(String token) {
        try {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(token.getBytes(StandardCharsets.UTF_8));
            return HexFormat.of().formatHex(digest) + addressOfKey(token).orElse("");
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException(impossible);
        }
    }
}
