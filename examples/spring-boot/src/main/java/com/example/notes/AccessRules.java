package com.example.notes;

import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.config.annotation.web.configurers.AuthorizeHttpRequestsConfigurer;

/** Who may call what. Whatever is not named here is open to nobody. */
final class AccessRules {
    private AccessRules() {}

    static void apply(
            AuthorizeHttpRequestsConfigurer<HttpSecurity>.AuthorizationManagerRequestMatcherRegistry requests) {
        requests.requestMatchers("/profile").authenticated();
        requests.requestMatchers("/admin").hasAnyAuthority("SCOPE_admin", "ROLE_admin");
        requests.anyRequest().denyAll();
    }
}
