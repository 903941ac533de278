package com.example.notes;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.Collection;
import java.util.Map;
import java.util.stream.Collectors;
import org.springframework.security.core.annotation.CurrentSecurityContext;
import org.springframework.security.oauth2.server.resource.authentication.AbstractOAuth2TokenAuthenticationToken;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** The API itself. Who may call what is in {@link AccessRules}. */
@RestController
class NotesController {
    record Profile(String sub, @JsonProperty("client_id") String clientId, String scope) {}

    record Message(String message) {}

    /** @return who acts: a person, or the client for itself */
    @GetMapping("/profile")
    Profile profile(@CurrentSecurityContext(expression = "authentication") AbstractOAuth2TokenAuthenticationToken<?> caller) {
        Map<String, Object> token = caller.getTokenAttributes();
        return new Profile(caller.getName(), token.get("client_id").toString(), scopeOf(token));
    }

    @GetMapping("/admin")
    Message admin() {
        return new Message("You may administer this.");
    }

    /** Words with spaces between them, as in a JWT; of an introspected token Spring has made a list. */
    private static String scopeOf(Map<String, Object> token) {
        Object scope = token.getOrDefault("scope", "");
        return scope instanceof Collection<?> words
                ? words.stream().map(String::valueOf).collect(Collectors.joining(" "))
                : scope.toString();
    }
}
