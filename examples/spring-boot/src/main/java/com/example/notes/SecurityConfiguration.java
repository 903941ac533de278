package com.example.notes;

import jakarta.servlet.DispatcherType;
import jakarta.servlet.http.HttpServletRequest;
import java.util.Collections;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.http.HttpHeaders;
import org.springframework.security.authentication.AuthenticationManager;
import org.springframework.security.authentication.AuthenticationManagerResolver;
import org.springframework.security.authentication.ProviderManager;
import org.springframework.security.config.ObjectPostProcessor;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.config.http.SessionCreationPolicy;
import org.springframework.security.oauth2.core.OAuth2AuthenticationException;
import org.springframework.security.oauth2.server.resource.BearerTokenErrors;
import org.springframework.security.oauth2.server.resource.OAuth2ProtectedResourceMetadata;
import org.springframework.security.oauth2.server.resource.authentication.JwtAuthenticationProvider;
import org.springframework.security.oauth2.server.resource.authentication.OpaqueTokenAuthenticationProvider;
import org.springframework.security.oauth2.server.resource.introspection.OpaqueTokenIntrospector;
import org.springframework.security.oauth2.server.resource.web.BearerTokenResolver;
import org.springframework.security.oauth2.server.resource.web.DefaultBearerTokenResolver;
import org.springframework.security.oauth2.server.resource.web.authentication.BearerTokenAuthenticationFilter;
import org.springframework.security.web.SecurityFilterChain;

/** Which kind of token is checked how, and how what is wrong is refused. */
@Configuration
class SecurityConfiguration {
    @Bean
    SecurityFilterChain apiSecurity(HttpSecurity http, TokenSettings settings) {
        BearerTokenResolver bearerToken = SecurityConfiguration::onlyBearerToken;
        return http
                .sessionManagement((session) -> session.sessionCreationPolicy(SessionCreationPolicy.STATELESS))
                // Nothing here goes by a cookie, so there is nothing to forge.
                .csrf((csrf) -> csrf.disable())
                .authorizeHttpRequests((requests) -> {
                    requests.dispatcherTypeMatchers(DispatcherType.ERROR).permitAll();
                    AccessRules.apply(requests);
                })
                .oauth2ResourceServer((server) -> server
                        .bearerTokenResolver(bearerToken)
                        .authenticationManagerResolver(byFormOfToken(bearerToken, settings))
                        // RFC 9728: refusals name its address, so that a client finds out where to get a token.
                        .protectedResourceMetadata((metadata) -> metadata.protectedResourceMetadataCustomizer(
                                (answer) -> describeOurselves(answer, settings)))
                        .withObjectPostProcessor(new ObjectPostProcessor<BearerTokenAuthenticationFilter>() {
                            @Override
                            public <T extends BearerTokenAuthenticationFilter> T postProcess(T filter) {
                                filter.setAuthenticationFailureHandler(new BearerTokenFailureHandler());
                                return filter;
                            }
                        }))
                .build();
    }

    /** A JWT has three parts with dots between them. No other token of Tessera has a dot, an API key neither. */
    private static AuthenticationManagerResolver<HttpServletRequest> byFormOfToken(
            BearerTokenResolver bearerToken, TokenSettings settings) {
        OpaqueTokenIntrospector introspection = new CachedIntrospection(settings);
        JwtAuthenticationProvider jwts = new JwtAuthenticationProvider(SignedTokens.decoder(settings, introspection));
        jwts.setJwtAuthenticationConverter(Authorities.ofSignedTokens());
        AuthenticationManager signed = new ProviderManager(jwts);
        AuthenticationManager introspected =
                new ProviderManager(new OpaqueTokenAuthenticationProvider(introspection));
        return (request) -> {
            String token = bearerToken.resolve(request);
            return token != null && token.chars().filter((character) -> character == '.').count() == 2 ? signed : introspected;
        };
    }

    /** RFC 9728 wants a URL for the resource. Where the API's identifier is none, it stays the address of the request. */
    private static void describeOurselves(OAuth2ProtectedResourceMetadata.Builder answer, TokenSettings settings) {
        if (settings.audience().startsWith("https://")) answer.resource(settings.audience());
        answer.authorizationServer(settings.issuer()).tlsClientCertificateBoundAccessTokens(false);
    }

    /** Of two, the one that is checked here might not be the one that something before or behind us goes by. */
    private static String onlyBearerToken(HttpServletRequest request) {
        if (Collections.list(request.getHeaders(HttpHeaders.AUTHORIZATION)).size() > 1) {
            throw new OAuth2AuthenticationException(BearerTokenErrors.invalidToken("More than one Authorization header"));
        }
        return new DefaultBearerTokenResolver().resolve(request);
    }
}
