package com.example.notes;

import com.nimbusds.jose.jwk.JWKMatcher;
import com.nimbusds.jose.jwk.JWKSelector;
import com.nimbusds.jose.jwk.source.JWKSource;
import com.nimbusds.jose.jwk.source.JWKSourceBuilder;
import com.nimbusds.jose.jwk.source.RateLimitReachedException;
import com.nimbusds.jose.proc.SecurityContext;
import java.net.MalformedURLException;
import java.net.URI;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import org.springframework.security.oauth2.core.OAuth2TokenValidator;
import org.springframework.security.oauth2.jose.jws.SignatureAlgorithm;
import org.springframework.security.oauth2.jwt.BadJwtException;
import org.springframework.security.oauth2.jwt.Jwt;
import org.springframework.security.oauth2.jwt.JwtClaimValidator;
import org.springframework.security.oauth2.jwt.JwtDecoder;
import org.springframework.security.oauth2.jwt.JwtException;
import org.springframework.security.oauth2.jwt.JwtTimestampValidator;
import org.springframework.security.oauth2.jwt.JwtValidators;
import org.springframework.security.oauth2.jwt.NimbusJwtDecoder;
import org.springframework.security.oauth2.server.resource.introspection.BadOpaqueTokenException;
import org.springframework.security.oauth2.server.resource.introspection.OAuth2IntrospectionException;
import org.springframework.security.oauth2.server.resource.introspection.OpaqueTokenIntrospector;

/** JWT access tokens (RFC 9068), checked by the issuer's public keys alone. */
final class SignedTokens {
    private static final Duration CLOCK_TOLERANCE = Duration.ofSeconds(15);

    private static final JWKSelector ANY_KEY = new JWKSelector(new JWKMatcher.Builder().build());

    private SignedTokens() {}

    static JwtDecoder decoder(TokenSettings settings, OpaqueTokenIntrospector introspection) {
        NimbusJwtDecoder decoder = NimbusJwtDecoder.withJwkSource(publicKeys(settings.issuer() + "/jwks"))
                // What Tessera signs with (SIGNING_ALGORITHMS there) and Spring knows. None of them is symmetric.
                .jwsAlgorithms((algorithms) -> algorithms.addAll(
                        List.of(SignatureAlgorithm.RS256, SignatureAlgorithm.ES256, SignatureAlgorithm.PS256)))
                .build();
        decoder.setJwtValidator(validator(settings));
        return settings.introspectJwts() ? (token) -> living(decoder.decode(token), introspection) : decoder;
    }

    /** @throws BadJwtException where the issuer says that it has been revoked */
    private static Jwt living(Jwt jwt, OpaqueTokenIntrospector introspection) {
        try {
            introspection.introspect(jwt.getTokenValue());
            return jwt;
        } catch (BadOpaqueTokenException inactive) {
            throw new BadJwtException(inactive.getMessage(), inactive);
        } catch (OAuth2IntrospectionException away) {
            throw new JwtException(away.getMessage(), away);
        }
    }

    private static OAuth2TokenValidator<Jwt> validator(TokenSettings settings) {
        JwtTimestampValidator times = new JwtTimestampValidator(CLOCK_TOLERANCE);
        return JwtValidators.createAtJwtValidator()
                .issuer(settings.issuer())
                .audience(settings.audience())
                .validators((validators) -> {
                    validators.put("times", times);
                    validators.put("client_id", new JwtClaimValidator<>("client_id", Objects::nonNull));
                    // It belongs to whoever proves to have a key (DPoP, mTLS). As a bearer token it may be stolen.
                    validators.put("cnf", new JwtClaimValidator<>("cnf", Objects::isNull));
                })
                .build();
    }

    /**
     * Kept for five minutes, and looked for again at once where a token names a key that is not among them: twice in ten
     * seconds at most, whoever makes up key ids. Past that there is no such key, as long as there are any.
     */
    private static JWKSource<SecurityContext> publicKeys(String address) {
        JWKSource<SecurityContext> keys;
        try {
            keys = JWKSourceBuilder.create(URI.create(address).toURL()).retrying(true).rateLimited(10_000).build();
        } catch (MalformedURLException malformed) {
            throw new IllegalArgumentException("ISSUER is no URL", malformed);
        }
        return (selector, context) -> {
            try {
                return keys.get(selector, context);
            } catch (RateLimitReachedException tooOften) {
                keys.get(ANY_KEY, context);
                return List.of();
            }
        };
    }
}
