package com.example.notes;

import java.util.Collection;
import java.util.Map;
import java.util.stream.Collectors;
import org.springframework.security.core.annotation.CurrentSecurityContext;
import org.springframework.security.oauth2.server.resource.authentication.AbstractOAuth2TokenAuthenticationToken;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** The API itself. Who may call what is in {@link SecurityConfiguration}. */
@RestController
class NotesController {
    /** @return who acts: a person, or the client for itself */
    @GetMapping("/profile")
    Map<String, Object> profile(
            @CurrentSecurityContext(expression = "authentication") AbstractOAuth2TokenAuthenticationToken<?> caller) {
        Map<String, Object> token = caller.getTokenAttributes();
        Object client = token.get("client_id");
        return Map.of("sub", token.getOrDefault("sub", client), "client_id", client, "scope", scopeOf(token));
    }

    @GetMapping("/admin")
    Map<String, Object> admin() {
        return Map.of("message", "You may administer this.");
    }

    /** Words with spaces between them, as in a JWT; of an introspected token Spring has made a list. */
    private static String scopeOf(Map<String, Object> token) {
        Object scope = token.getOrDefault("scope", "");
        return scope instanceof Collection<?> words
                ? words.stream().map(String::valueOf).collect(Collectors.joining(" "))
                : scope.toString();
    }
}
