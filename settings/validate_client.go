package settings

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/session"
)

// Limits on the contents of a token, so that it stays below 6 KiB.
const (
	maxScopes   = 100
	maxScope    = 1 << 10 // all scopes of a client, separated by spaces
	maxAudience = 255
)

var (
	clientID = matches(regexp.MustCompile(`^[A-Za-z0-9._~-]{1,64}$`), "1–64 of A–Z, a–z, 0–9 and . _ ~ -")

	// RFC 6749 §3.3
	scopeToken = matches(regexp.MustCompile(`^[!#-\[\]-~]+$`), `a scope token: printable ASCII without spaces, " and \`)

	// RFC 6749 appendix A.2. Secrets that Latchkey generates contain no characters
	// that need form-encoding, but a secret from elsewhere may contain them.
	clientSecret = printable(32, 1024)
)

// client checks one app client.
func (v *tenantValidation) client(at string, c ClientSpec) {
	v.required(at+".id", c.ID, clientID)
	v.optional(at+".name", c.Name, text(255))
	v.required(at+".auth", c.Auth, oneOf(AuthNone, AuthSecret))
	v.clientSecrets(at, c)
	v.grants(at, c.ClientSettings)
	v.optional(at+".preset", c.Preset, oneOf(slices.Sorted(maps.Keys(session.Presets))[1:]...))
	v.policy(at, c.ClientSettings)
	v.optional(at+".late_retry", c.LateRetry, oneOf(LateRetryOnce, LateRetryNever))
	v.claims(at+".claims", c.Claims)
	v.scopes(at, c.ClientSettings)
	v.each(at+".audiences", c.Audiences, ownAudience)
	v.each(at+".resource_identifiers", c.ResourceIdentifiers, v.resourceIdentifier)
	v.optional(at+".introspect", c.Introspect, oneOf(IntrospectAudience, IntrospectAll))
	if c.Introspect != "" && c.Public() {
		v.Add(at+".introspect", "requires auth: secret")
	}
	if c.MintClientTokens && c.Public() {
		v.Add(at+".mint_client_tokens", "requires auth: secret")
	}
	if c.ManageSessions && c.Public() {
		v.Add(at+".manage_sessions", "requires auth: secret")
	}
	v.each(at+".origins", c.Origins, origin)
	v.optional(at+".access_token_typ", c.AccessTokenTyp, oneOf("at+jwt", "JWT"))
	if limit := c.MaxSessionsPerUser; limit != nil {
		if limit.Limit < 1 {
			v.Add(at+".max_sessions_per_user.limit", "must be at least 1")
		}
		v.optional(at+".max_sessions_per_user.when_full", limit.WhenFull, oneOf(EndOldest, Reject))
	}
}

// clientSecrets checks that the secrets match the way the client authenticates. A
// secret whose file could not be read counts as set.
func (v *tenantValidation) clientSecrets(at string, c ClientSpec) {
	path := at + ".secret"
	if c.SecretFile != "" {
		path = at + ".secret_file"
	}
	given := c.Secret != "" || c.SecretFile != ""
	switch {
	case c.Auth == AuthSecret && !given && !c.SecretStored:
		v.Add(path, "is missing: auth is secret")
	case c.Public() && given:
		v.Add(path, "must not be set: auth is none")
	case c.Public() && c.PreviousSecret != "":
		v.Add(at+".previous_secret", "must not be set: auth is none")
	default:
		v.optional(path, c.Secret, clientSecret)
		v.optional(at+".previous_secret", c.PreviousSecret, clientSecret)
		if c.Secret != "" && c.Secret == c.PreviousSecret {
			v.Add(at+".previous_secret", "is the same as secret")
		}
	}
}

// grants checks the grants, and the settings that depend on a grant. A client
// without grants is a resource server.
func (v *tenantValidation) grants(at string, c ClientSettings) {
	v.each(at+".grants", c.Grants, oneOf(GrantTokenExchange, GrantRefresh, GrantClientCredentials))
	if c.Public() && c.HasGrant(GrantClientCredentials) {
		v.Add(at+".grants", "client-credentials requires auth: secret") // RFC 6749 §4.4
	}
	if c.HasGrant(GrantRefresh) && !c.HasGrant(GrantTokenExchange) {
		v.Add(at+".grants", "refresh requires token-exchange, which opens the session")
	}
	if c.StatusList && !c.HasGrant(GrantTokenExchange) {
		v.Add(at+".status_list", "requires the grant token-exchange, which opens the session")
	}
	switch {
	case !c.SessionToken:
	case !c.HasGrant(GrantTokenExchange):
		v.Add(at+".session_token", "requires the grant token-exchange, which opens the session")
	case c.Public() && !c.AllowPublicSessionToken:
		// A session token does not rotate, so a copy taken from a browser stays valid.
		v.Add(at+".session_token", "requires auth: secret, or allow_public_session_token: true")
	}
}

// policy checks the lifetimes that result from the preset and the client's fields.
func (v *tenantValidation) policy(at string, c ClientSettings) {
	if _, known := session.Presets[c.Preset]; !known {
		return
	}
	if err := c.Policy().Validate(); err != nil {
		for fault := range strings.SplitSeq(err.Error(), "\n") {
			field, problem, _ := strings.Cut(fault, ": ")
			v.Add(at+"."+field, "%s", problem)
		}
	}
	if most := c.MaxLifetime; most != nil && most.Std() < c.Policy().AbsoluteTimeout {
		v.Add(at+".max_lifetime", "must be at least absolute_lifetime")
	}
}

// scopes checks the scopes that the client may request and those that it gets by default.
func (v *tenantValidation) scopes(at string, c ClientSettings) {
	if len(c.Scopes) > maxScopes {
		v.Add(at+".scopes", "must have at most %d entries", maxScopes)
	}
	if len(strings.Join(c.Scopes, " ")) > maxScope {
		v.Add(at+".scopes", "must be at most 1 KiB together, because a token may contain all of them")
	}
	v.each(at+".scopes", c.Scopes, scopeToken)
	if c.DefaultScopes != nil {
		v.each(at+".default_scopes", *c.DefaultScopes, func(s string) string {
			if slices.Contains(c.Scopes, s) {
				return ""
			}
			return "is not among the client's scopes"
		})
	}
}

// ownAudience checks an audience of this server's tokens: a client id or a URI.
func ownAudience(s string) string {
	if len(s) > maxAudience {
		return "is longer than 255 characters"
	}
	if strings.Contains(s, ":") {
		return absoluteURI(s)
	}
	if clientID(s) != "" {
		return "must be a client id or an absolute URI"
	}
	return ""
}

// resourceIdentifier checks a URI that names a client as an audience. It cannot
// collide with a client id, which has no colon. The tenant's issuer is the audience
// of the session API, so no resource server may use it.
func (v *tenantValidation) resourceIdentifier(s string) string {
	if v.base != "" && s == v.issuer() {
		return "must not be the tenant's own issuer"
	}
	return absoluteURI(s)
}
