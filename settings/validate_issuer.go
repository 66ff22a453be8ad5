package settings

import (
	"slices"
	"strings"
	"time"
)

// Limits on the settings of a trusted issuer.
const (
	MaxTokenAge      = 24 * time.Hour
	maxTokenLifetime = 30 * 24 * time.Hour // the single-use row of a token is kept as long
	MaxLeeway        = 5 * time.Minute

	minSharedSecret = 32 // bytes, RFC 7518 §3.2
)

// ClientTokensPath follows the issuer URL of a tenant in that of its internal issuer,
// which mints client tokens for back ends that sign users in themselves.
const ClientTokensPath = "/client-tokens"

// Endpoints of a tenant at which identity providers end sessions.
const (
	GlobalRevocationPath  = "/global-token-revocation"
	BackchannelLogoutPath = "/backchannel-logout"
	SecurityEventsPath    = "/security-events"
)

// GlobalRevocationType is the header type of the tokens for GlobalRevocationPath that
// the best known identity provider sends.
const GlobalRevocationType = "global-token-revocation+jwt"

// Signature algorithms of client tokens. HS256 is allowed only with shared secrets,
// so that a public key is never used as a secret (RFC 8725 §2.1).
const sharedSecretAlgorithm = "HS256"

var publicKeyAlgorithm = oneOf("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")

// foreignTypes lists the header types of tokens with another purpose, beginning with
// the server's own (RFC 8725 §3.11, R-JK-17).
var foreignTypes = strings.Fields(`at+jwt token-introspection+jwt logout+jwt secevent+jwt
	statuslist+jwt dpop+jwt client-authentication+jwt`)

// trustedIssuer checks one entry.
func (v *tenantValidation) trustedIssuer(at string, e IssuerSpec) {
	v.required(at+".issuer", e.Issuer, v.foreignIssuer(e))
	v.required(at+".token_type", e.TokenType, oneOf(TokenTypeJWT, TokenTypeIDToken))
	v.keys(at, e)
	if e.TokenType == TokenTypeIDToken && len(e.Audiences) == 0 {
		v.Add(at+".audiences", "is missing: list the client id at the provider")
	} else {
		v.notEmpty(at+".audiences", e.Audiences)
	}
	v.each(at+".audiences", e.Audiences, v.tokenAudience)
	v.optional(at+".typ", e.Typ, func(typ string) string {
		if BareType(typ) == GlobalRevocationType {
			return "is the type of tokens that do not prove a sign-in"
		}
		return headerType(typ)
	})
	v.span(at+".max_age", e.MaxAge, time.Second, MaxTokenAge)
	v.span(at+".max_token_lifetime", e.MaxTokenLifetime, time.Second, maxTokenLifetime)
	v.span(at+".leeway", e.Leeway, 0, MaxLeeway)
	v.expressions(at+".user_attributes", e.UserAttributes, reservedUserAttribute)
	v.expressions(at+".session_attributes", e.SessionAttributes, reservedSessionAttribute)
	if e.AMR != "" && !e.MayAssert("amr") {
		v.Add(at+".amr", "has no effect: list amr in asserts, or remove it")
	}
	if e.Asserts != nil {
		v.each(at+".asserts", *e.Asserts, oneOf("amr", "auth_time", "acr"))
	}
	v.optional(at+".max_acr", e.MaxACR, oneOf(v.acrValues()...))
	v.notEmpty(at+".clients", e.Clients)
	v.each(at+".clients", e.Clients, func(id string) string {
		if v.clients[id] {
			return ""
		}
		return "is not a client of this tenant"
	})
	v.optional(at+".subject_prefix", e.SubjectPrefix, printable(1, 64))
	v.upstream(at, e)
}

// upstream checks what the identity provider may end.
func (v *tenantValidation) upstream(at string, e IssuerSpec) {
	if e.MayRevoke && e.RevocationTyp == "" {
		v.Add(at+".revocation_typ", "is missing: may_revoke requires the header typ of its tokens, such as %s", GlobalRevocationType)
	}
	v.optional(at+".revocation_typ", e.RevocationTyp, func(typ string) string {
		switch lower := BareType(typ); {
		case lower == "jwt" || lower == BareType(e.Typ):
			return "must differ from the type of client tokens"
		default:
			return headerType(typ)
		}
	})
	v.notEmpty(at+".revocation_callers", e.RevocationCallers)
	v.each(at+".revocation_callers", e.RevocationCallers, text(255))
	v.optional(at+".revocation_email_attribute", e.RevocationEmail, func(name string) string {
		if !slices.Contains(v.SearchableAttributes, name) {
			return "must be one of searchable_attributes of the tenant"
		}
		return ""
	})
	v.optional(at+".security_event_audience", e.SecurityEventAudience, text(1024))
	if e.BackchannelLogout && e.TokenType != TokenTypeIDToken {
		v.Add(at+".backchannel_logout", "requires token_type id_token")
	}
	if e.Keys.Internal && e.KnowsUpstream() {
		v.Add(at+".keys.internal", "does not go with may_revoke or backchannel_logout: there is no identity provider")
	}
}

// BareType returns a header type in lower case and without "application/" (RFC 7515
// §4.1.9).
func BareType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// foreignIssuer checks an iss that a tenant may trust. It rejects the issuers of
// this deployment, whose access tokens would pass for proof of a sign-in. The iss
// must be a URL if its metadata is fetched; otherwise it may be any text.
func (v *tenantValidation) foreignIssuer(e IssuerSpec) rule {
	return func(iss string) string {
		if v.ours(iss) {
			return "must not be an issuer of this server"
		}
		if e.Keys.Discovery {
			if strings.Contains(iss, "?") {
				return "must not have a query" // OpenID Connect Discovery 1.0 §3
			}
			return fetched(e.AllowPrivateAddresses)(iss)
		}
		return text(1024)(iss)
	}
}

// ours reports whether iss is the issuer of a tenant, or another spelling of it.
func (v *tenantValidation) ours(iss string) bool {
	rest, here := strings.CutPrefix(canonicalIssuer(iss), v.base)
	id, tenant := strings.CutPrefix(rest, "/t/")
	return v.base != "" && here && (rest == "" || tenant && tenantID.MatchString(id))
}

// canonicalIssuer returns a URL in lower case, without the default port, a dot after
// the host or a slash at the end.
func canonicalIssuer(iss string) string {
	iss = strings.TrimRight(strings.ToLower(iss), "/")
	scheme, rest, _ := strings.Cut(iss, "://")
	host, path, _ := strings.Cut(rest, "/")
	switch scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	default:
		return iss
	}
	if name, port, named := strings.Cut(host, ".:"); named {
		host = name + ":" + port
	}
	host = strings.TrimSuffix(host, ".")
	return strings.TrimSuffix(scheme+"://"+host+"/"+path, "/")
}

// keys checks that the keys have one source, and that the algorithms match it.
func (v *tenantValidation) keys(at string, e IssuerSpec) {
	shared := e.Keys.SharedSecret != "" || e.Keys.SharedSecretFile != "" || e.Keys.Stored
	sources := 0
	for _, given := range []bool{e.Keys.Discovery, e.Keys.Internal, e.Keys.JWKSURI != "", len(e.Keys.JWKS) > 0, e.Keys.PEM != "", shared} {
		if given {
			sources++
		}
	}
	if sources != 1 {
		v.Add(at+".keys", "must be exactly one of discovery, jwks_uri, jwks, pem, shared_secret, internal")
	}
	if e.Keys.Internal {
		if v.base != "" && e.Issuer != v.issuer()+ClientTokensPath {
			v.Add(at+".issuer", "must be %q with keys.internal", v.issuer()+ClientTokensPath)
		}
		if e.TokenType != TokenTypeJWT {
			v.Add(at+".token_type", "must be jwt with keys.internal")
		}
		if len(e.Algorithms) > 0 || e.Typ != "" || e.AllowPrivateAddresses {
			v.Add(at+".keys.internal", "does not go with algorithms, typ or allow_private_addresses, which the server decides")
		}
	}
	v.optional(at+".keys.jwks_uri", e.Keys.JWKSURI, fetched(e.AllowPrivateAddresses))
	if secret := e.Keys.SharedSecret; secret != "" && len(secret) < minSharedSecret {
		path := at + ".keys.shared_secret"
		if e.Keys.SharedSecretFile != "" {
			path += "_file"
		}
		v.Add(path, "must be at least %d bytes", minSharedSecret)
	}
	v.notEmpty(at+".algorithms", e.Algorithms)
	v.each(at+".algorithms", e.Algorithms, func(alg string) string {
		switch {
		case shared && alg != sharedSecretAlgorithm:
			return "must be HS256 with a shared secret"
		case shared:
			return ""
		case alg == sharedSecretAlgorithm:
			return "HS256 requires keys.shared_secret"
		}
		return publicKeyAlgorithm(alg)
	})
}

// tokenAudience checks a value of aud. The server always rejects a client token for
// the token endpoint, so listing the endpoint would have no effect.
func (v *tenantValidation) tokenAudience(s string) string {
	if v.base != "" && s == v.issuer()+"/token" {
		return "must not be the token endpoint"
	}
	for _, path := range []string{GlobalRevocationPath, BackchannelLogoutPath, SecurityEventsPath} {
		if v.base != "" && s == v.issuer()+path {
			return "must not be an endpoint for identity providers"
		}
	}
	return text(1024)(s)
}

// headerType checks a typ that marks only client tokens.
func headerType(typ string) string {
	if slices.Contains(foreignTypes, BareType(typ)) {
		return "is the type of tokens that do not prove a sign-in"
	}
	if len(typ) > 64 || !visible.MatchString(typ) {
		return "must be a media type of at most 64 characters"
	}
	return ""
}

// span checks a duration if it is set.
func (v *tenantValidation) span(path string, d *Duration, least, most time.Duration) {
	if d != nil && (d.Std() < least || d.Std() > most) {
		v.Add(path, "must be %s to %s", Duration(least), Duration(most))
	}
}
