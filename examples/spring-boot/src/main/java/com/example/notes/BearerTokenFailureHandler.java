package com.example.notes;

import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpStatus;
import org.springframework.security.authentication.AuthenticationServiceException;
import org.springframework.security.core.AuthenticationException;
import org.springframework.security.oauth2.server.resource.web.BearerTokenAuthenticationEntryPoint;
import org.springframework.security.web.AuthenticationEntryPoint;
import org.springframework.security.web.authentication.AuthenticationFailureHandler;

/**
 * Tells a bad token (401) from an issuer that can't be asked (503): without it nobody knows whether a token is good, so nobody
 * is let in, and nobody is told that theirs is bad.
 */
final class BearerTokenFailureHandler implements AuthenticationFailureHandler {
    private static final Logger LOGGER = LoggerFactory.getLogger(BearerTokenFailureHandler.class);

    private final AuthenticationEntryPoint refusal = new BearerTokenAuthenticationEntryPoint();

    @Override
    public void onAuthenticationFailure(
            HttpServletRequest request, HttpServletResponse response, AuthenticationException failure)
            throws IOException, jakarta.servlet.ServletException {
        if (!(failure instanceof AuthenticationServiceException)) {
            refusal.commence(request, response, failure);
            return;
        }
        LOGGER.error("the issuer could not be asked: {}", failure.getMessage());
        response.setHeader(HttpHeaders.RETRY_AFTER, "1");
        response.setStatus(HttpStatus.SERVICE_UNAVAILABLE.value());
    }
}
