package settings_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/settings"
)

const baseIssuer = "https://id.example.com"

// validTenant is a tenant without a fault: a public client, a server, an
// issuer of client tokens and a user.
func validTenant() settings.TenantSpec {
	return settings.TenantSpec{
		ID: "default",
		TrustedIssuers: []settings.IssuerSpec{{IssuerSettings: settings.IssuerSettings{
			Issuer:    "https://auth.example.com",
			TokenType: settings.TokenTypeJWT,
			Keys:      settings.IssuerKeys{Discovery: true},
		}}},
		Clients: []settings.ClientSpec{
			{ID: "web", ClientSettings: settings.ClientSettings{
				Auth:   settings.AuthNone,
				Grants: []string{settings.GrantTokenExchange, settings.GrantRefresh},
				Scopes: []string{"profile", "orders:read"},
			}},
			{ID: "api", Secret: strings.Repeat("s", 32), ClientSettings: settings.ClientSettings{Auth: settings.AuthSecret}},
		},
		Users: []settings.UserSpec{{Sub: "alice", Attributes: map[string]any{"plan": "pro"}}},
	}
}

func span(d time.Duration) *settings.Duration { return (*settings.Duration)(&d) }

// row is a change to a valid tenant, and the faults that it causes, without the prefix
// "tenants[0].".
type row struct {
	name   string
	change func(*settings.TenantSpec)
	want   []string
}

func check(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			tenant := validTenant()
			r.change(&tenant)
			var got []string
			for _, f := range settings.ValidateTenants([]settings.TenantSpec{tenant}, baseIssuer) {
				got = append(got, strings.TrimPrefix(f.String(), "tenants[0]."))
			}
			if !slices.Equal(got, r.want) {
				t.Errorf("faults:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(r.want, "\n  "))
			}
		})
	}
}

func fault(lines ...string) []string { return lines }

func TestValidateTenant(t *testing.T) {
	const id = "id: must be 1–63 of a–z, 0–9 and -, and not begin with -"
	const acrValue = `must be 1–100 printable ASCII characters without spaces, " and \`
	classes := func(values ...string) []settings.ACRClass {
		list := []settings.ACRClass{}
		for _, value := range values {
			list = append(list, settings.ACRClass{Value: value, When: "true"})
		}
		return list
	}
	with := func(name string, change func(*settings.TenantSpec), want ...string) row {
		return row{name, change, want}
	}
	check(t, []row{
		with("accepts one without fault", func(*settings.TenantSpec) {}),
		with("accepts an empty one", func(t *settings.TenantSpec) { *t = settings.TenantSpec{ID: "a"} }),
		with("rejects one without an id", func(t *settings.TenantSpec) { t.ID = "" }, "id: is missing"),
		with("rejects an id in upper case", func(t *settings.TenantSpec) { t.ID = "Shop" }, id),
		with("rejects an id that begins with a hyphen", func(t *settings.TenantSpec) { t.ID = "-shop" }, id),
		with("rejects an id of 64 characters", func(t *settings.TenantSpec) { t.ID = strings.Repeat("a", 64) }, id),
		with("rejects an id with a newline at its end", func(t *settings.TenantSpec) { t.ID = "shop\n" }, id),
		with("rejects an unknown algorithm", func(t *settings.TenantSpec) { t.SigningAlgorithm = "HS256" },
			"signing_algorithm: must be one of RS256, ES256, Ed25519"),
		with("accepts a key rotation of two days", func(t *settings.TenantSpec) { t.KeyRotation = duration("2d") }),
		with("accepts no key rotation", func(t *settings.TenantSpec) { t.KeyRotation = duration("none") }),
		with("rejects a key rotation that leaves no time to announce", func(t *settings.TenantSpec) { t.KeyRotation = duration("47h59m") },
			"key_rotation: must be at least 2d, or none"),
		with("accepts a user retention as long as that of events", func(t *settings.TenantSpec) { t.UserRetention = duration("90d") }),
		with("accepts no user retention", func(t *settings.TenantSpec) { t.UserRetention = duration("none") }),
		with("rejects a user retention shorter than that of events", func(t *settings.TenantSpec) { t.UserRetention = duration("89d") },
			"user_retention: must be at least 90d, or none"),
		with("accepts events for a week", func(t *settings.TenantSpec) { t.Events = &settings.EventSettings{Retention: duration("7d")} }),
		with("accepts events for ten years", func(t *settings.TenantSpec) { t.Events = &settings.EventSettings{Retention: duration("3650d")} }),
		with("rejects events for less than a week", func(t *settings.TenantSpec) { t.Events = &settings.EventSettings{Retention: duration("167h")} },
			"events.retention: must be between 7d and 3650d"),
		with("rejects events for more than ten years", func(t *settings.TenantSpec) { t.Events = &settings.EventSettings{Retention: duration("3651d")} },
			"events.retention: must be between 7d and 3650d"),
		with("rejects events for ever", func(t *settings.TenantSpec) { t.Events = &settings.EventSettings{Retention: duration("none")} },
			"events.retention: must be between 7d and 3650d"),
		with("accepts searchable attributes", func(t *settings.TenantSpec) { t.SearchableAttributes = []string{"email", "größe"} }),
		with("rejects a searchable attribute with a colon", func(t *settings.TenantSpec) { t.SearchableAttributes = []string{"a:b"} },
			"searchable_attributes[0]: must not contain a colon, which ends the name in a search"),
		with("rejects a searchable attribute that is listed twice", func(t *settings.TenantSpec) { t.SearchableAttributes = []string{"a", "a"} },
			"searchable_attributes[1]: is listed twice"),
		with("rejects sub as a searchable attribute", func(t *settings.TenantSpec) { t.SearchableAttributes = []string{"sub"} },
			"searchable_attributes[0]: is a reserved name"),
		with("rejects 11 searchable attributes", func(t *settings.TenantSpec) { t.SearchableAttributes = strings.Split("abcdefghijk", "") },
			"searchable_attributes: must have at most 10 entries"),
		with("accepts classes of its own", func(t *settings.TenantSpec) { t.ACR = classes("urn:example:basic", strings.Repeat("a", 100)) }),
		with("accepts a max_acr of its classes", func(t *settings.TenantSpec) { t.ACR, t.TrustedIssuers[0].MaxACR = classes("low", "high"), "high" }),
		with("rejects a max_acr of other classes", func(t *settings.TenantSpec) { t.ACR, t.TrustedIssuers[0].MaxACR = classes("low", "high"), "phr" },
			"trusted_issuers[0].max_acr: must be one of low, high"),
		with("rejects an empty list of classes", func(t *settings.TenantSpec) { t.ACR = classes() },
			"acr: is empty, which would mean the default: omit it, or list something"),
		with("rejects 21 classes", func(t *settings.TenantSpec) { t.ACR = classes(strings.Split("abcdefghijklmnopqrstu", "")...) }, "acr: must have at most 20 entries"),
		with("rejects a class without a value", func(t *settings.TenantSpec) { t.ACR = classes("low", "") }, "acr[1].value: is missing"),
		with("rejects a class without a rule", func(t *settings.TenantSpec) { t.ACR = []settings.ACRClass{{Value: "low", When: " "}} }, "acr[0].when: has no expression"),
		with("rejects two classes of one value", func(t *settings.TenantSpec) { t.ACR = classes("low", "low") }, "acr[1].value: is the same as tenants[0].acr[0].value"),
		with("rejects a value that acr_values could not carry", func(t *settings.TenantSpec) { t.ACR = classes("very low") }, "acr[0].value: "+acrValue),
		with("rejects a value that a challenge could not quote", func(t *settings.TenantSpec) { t.ACR = classes(`"low"`) }, "acr[0].value: "+acrValue),
		with("rejects a value of 101 characters", func(t *settings.TenantSpec) { t.ACR = classes(strings.Repeat("a", 101)) }, "acr[0].value: "+acrValue),
	})
	t.Run("rejects two of one id", func(t *testing.T) {
		faults := settings.ValidateTenants([]settings.TenantSpec{{ID: "a"}, {ID: "b"}, {ID: "a"}}, baseIssuer)
		if faults.Error() != "tenants[2].id: is the same as tenants[0].id" {
			t.Errorf("%v", faults)
		}
	})
}

func TestValidateClient(t *testing.T) {
	// public and secret change the two clients of a valid tenant.
	public := func(name string, change func(*settings.ClientSpec), want ...string) row {
		return row{name, func(t *settings.TenantSpec) { change(&t.Clients[0]) }, want}
	}
	secret := func(name string, change func(*settings.ClientSpec), want ...string) row {
		return row{name, func(t *settings.TenantSpec) { change(&t.Clients[1]) }, want}
	}
	const (
		id       = "clients[0].id: must be 1–64 of A–Z, a–z, 0–9 and . _ ~ -"
		badScope = "clients[0].scopes[0]: must be " + `a scope token: printable ASCII without spaces, " and \`
	)
	check(t, []row{
		public("rejects one without an id", func(c *settings.ClientSpec) { c.ID = "" }, "clients[0].id: is missing"),
		public("rejects an id with a colon, which Basic could not carry", func(c *settings.ClientSpec) { c.ID = "a:b" }, id),
		public("rejects an id of 65 characters", func(c *settings.ClientSpec) { c.ID = strings.Repeat("a", 65) }, id),
		secret("rejects two of one id", func(c *settings.ClientSpec) { c.ID = "web" }, "clients[1].id: is the same as tenants[0].clients[0].id"),
		public("rejects a name with control characters", func(c *settings.ClientSpec) { c.Name = "a\x1b[31m" },
			"clients[0].name: must not contain control characters"),
		public("rejects a preset that does not exist", func(c *settings.ClientSpec) { c.Preset = "aal4" },
			"clients[0].preset: must be one of aal2, aal3, consumer, high_security, mobile"),

		public("rejects one that does not say how it authenticates", func(c *settings.ClientSpec) { c.Auth = "" }, "clients[0].auth: is missing"),
		public("rejects another way to authenticate", func(c *settings.ClientSpec) { c.Auth = "private_key_jwt" },
			"clients[0].auth: must be one of none, secret"),
		secret("rejects a secret client without a secret", func(c *settings.ClientSpec) { c.Secret = "" },
			"clients[1].secret: is missing: auth is secret"),
		secret("accepts a secret that a file was to give for given", func(c *settings.ClientSpec) { c.Secret, c.SecretFile = "", "f" }),
		secret("rejects a secret of 31 characters", func(c *settings.ClientSpec) { c.Secret = strings.Repeat("s", 31) },
			"clients[1].secret: must be 32–1024 printable ASCII characters"),
		secret("names the file of a secret that is too short", func(c *settings.ClientSpec) { c.Secret, c.SecretFile = "s", "f" },
			"clients[1].secret_file: must be 32–1024 printable ASCII characters"),
		secret("rejects a secret with a control character", func(c *settings.ClientSpec) { c.Secret += "\x7f" },
			"clients[1].secret: must be 32–1024 printable ASCII characters"),
		secret("accepts a secret that has to be form-encoded", func(c *settings.ClientSpec) { c.Secret += " %+:" }),
		secret("rejects a short previous secret", func(c *settings.ClientSpec) { c.PreviousSecret = "s" },
			"clients[1].previous_secret: must be 32–1024 printable ASCII characters"),
		secret("rejects a previous secret that is no other", func(c *settings.ClientSpec) { c.PreviousSecret = c.Secret },
			"clients[1].previous_secret: is the same as secret"),
		public("rejects a public client with a secret", func(c *settings.ClientSpec) { c.Secret = strings.Repeat("s", 32) },
			"clients[0].secret: must not be set: auth is none"),
		public("rejects a public client with a previous secret", func(c *settings.ClientSpec) { c.PreviousSecret = strings.Repeat("s", 32) },
			"clients[0].previous_secret: must not be set: auth is none"),

		public("rejects an unknown grant", func(c *settings.ClientSpec) { c.Grants = []string{"password"} },
			"clients[0].grants[0]: must be one of token-exchange, refresh, client-credentials"),
		public("rejects a grant given twice", func(c *settings.ClientSpec) { c.Grants = append(c.Grants, settings.GrantRefresh) },
			"clients[0].grants[2]: is listed twice"),
		public("rejects client credentials for a public client", func(c *settings.ClientSpec) { c.Grants = append(c.Grants, settings.GrantClientCredentials) },
			"clients[0].grants: client-credentials requires auth: secret"),
		public("rejects refresh without an exchange", func(c *settings.ClientSpec) { c.Grants = []string{settings.GrantRefresh} },
			"clients[0].grants: refresh requires token-exchange, which opens the session"),
		secret("rejects a session token without an exchange", func(c *settings.ClientSpec) { c.SessionToken = true },
			"clients[1].session_token: requires the grant token-exchange, which opens the session"),
		public("rejects a session token for a public client", func(c *settings.ClientSpec) { c.SessionToken = true },
			"clients[0].session_token: requires auth: secret, or allow_public_session_token: true"),
		secret("rejects a status list without an exchange", func(c *settings.ClientSpec) { c.StatusList = true },
			"clients[1].status_list: requires the grant token-exchange, which opens the session"),
		public("accepts a status list", func(c *settings.ClientSpec) { c.StatusList = true }),
		public("accepts a session token for a public client that asks for it", func(c *settings.ClientSpec) { c.SessionToken, c.AllowPublicSessionToken = true, true }),

		public("names every lifetime out of bounds", func(c *settings.ClientSpec) {
			c.AccessTokenTTL, c.AbsoluteLifetime = span(25*time.Hour), span(time.Hour)
			c.InactivityTimeout, c.RefreshGrace = span(time.Minute), span(time.Hour)
		},
			"clients[0].access_token_ttl: must be 30s to 24h",
			"clients[0].absolute_lifetime: must be at least access_token_ttl",
			"clients[0].inactivity_timeout: must be at least twice access_token_ttl, or none",
			"clients[0].refresh_grace: must be 0s to 1m0s"),
		public("rejects a late retry of another kind", func(c *settings.ClientSpec) { c.LateRetry = "twice" },
			"clients[0].late_retry: must be one of once, never"),
		public("accepts late retries without a window", func(c *settings.ClientSpec) { c.RefreshGrace, c.LateRetry = span(0), settings.LateRetryOnce }),
		public("holds a preset's lifetimes against the client's own", func(c *settings.ClientSpec) {
			c.Preset, c.AccessTokenTTL = "aal3", span(10*time.Minute)
		}, "clients[0].inactivity_timeout: must be at least twice access_token_ttl, or none"),
		public("accepts a longest lifetime of the usual one", func(c *settings.ClientSpec) { c.MaxLifetime = span(30 * 24 * time.Hour) }),
		public("rejects a longest lifetime below the usual one", func(c *settings.ClientSpec) { c.MaxLifetime = span(30*24*time.Hour - 1) },
			"clients[0].max_lifetime: must be at least absolute_lifetime"),
		public("rejects a lifetime without an end", func(c *settings.ClientSpec) { c.MaxLifetime = span(-1) },
			"clients[0].max_lifetime: must be at least absolute_lifetime"),
		public("rejects a session cap of none", func(c *settings.ClientSpec) { c.MaxSessionsPerUser = &settings.SessionCap{WhenFull: "panic"} },
			"clients[0].max_sessions_per_user.limit: must be at least 1",
			"clients[0].max_sessions_per_user.when_full: must be one of end_oldest, reject"),

		public("rejects a scope with a space", func(c *settings.ClientSpec) { c.Scopes = []string{"a b"} }, badScope),
		public("rejects a scope with a quote", func(c *settings.ClientSpec) { c.Scopes = []string{`"`} }, badScope),
		public("rejects a scope with a backslash", func(c *settings.ClientSpec) { c.Scopes = []string{`\`} }, badScope),
		public("accepts the scopes next to those", func(c *settings.ClientSpec) { c.Scopes = []string{"!#[]~"} }),
		public("rejects a scope given twice", func(c *settings.ClientSpec) { c.Scopes = []string{"a", "A", "a"} },
			"clients[0].scopes[2]: is listed twice"),
		public("rejects more than 100 scopes", func(c *settings.ClientSpec) {
			for i := range 99 {
				c.Scopes = append(c.Scopes, fmt.Sprint(i))
			}
		}, "clients[0].scopes: must have at most 100 entries"),
		public("rejects a default scope that it has not", func(c *settings.ClientSpec) { c.DefaultScopes = &[]string{"profile", "admin"} },
			"clients[0].default_scopes[1]: is not among the client's scopes"),
		public("accepts scopes of 1 KiB", func(c *settings.ClientSpec) { c.Scopes = []string{strings.Repeat("a", 511), strings.Repeat("b", 512)} }),
		public("rejects scopes of more than 1 KiB", func(c *settings.ClientSpec) {
			c.Scopes = []string{strings.Repeat("a", 512), strings.Repeat("b", 512)}
		}, "clients[0].scopes: must be at most 1 KiB together, because a token may contain all of them"),
		public("accepts an audience of 255 characters", func(c *settings.ClientSpec) { c.Audiences = []string{"urn:" + strings.Repeat("a", 251)} }),
		public("rejects an audience of 256 characters", func(c *settings.ClientSpec) { c.Audiences = []string{"urn:" + strings.Repeat("a", 252)} },
			"clients[0].audiences[0]: is longer than 255 characters"),
		public("accepts no scopes for its default", func(c *settings.ClientSpec) { c.DefaultScopes = &[]string{} }),

		public("accepts client ids and URIs for audiences", func(c *settings.ClientSpec) { c.Audiences = []string{"api", "https://api.example.com/v1", "urn:a:b"} }),
		public("rejects audiences that are neither", func(c *settings.ClientSpec) {
			c.Audiences = []string{"a b", "//api", "https://a/#x", "https://a/#", "https://"}
		},
			"clients[0].audiences[0]: must be a client id or an absolute URI",
			"clients[0].audiences[1]: must be a client id or an absolute URI",
			"clients[0].audiences[2]: must not have a fragment",
			"clients[0].audiences[3]: must not have a fragment",
			"clients[0].audiences[4]: must be an absolute URI"),
		secret("rejects resource identifiers that are no URIs", func(c *settings.ClientSpec) { c.ResourceIdentifiers = []string{"web", "https://me@api"} },
			"clients[1].resource_identifiers[0]: must be an absolute URI",
			"clients[1].resource_identifiers[1]: must not contain a user name or password"),
		secret("rejects the session API's audience for a resource", func(c *settings.ClientSpec) { c.ResourceIdentifiers = []string{baseIssuer} },
			"clients[1].resource_identifiers[0]: must not be the tenant's own issuer"),
		{"rejects two resources with one identifier", func(t *settings.TenantSpec) {
			t.Clients[0].ResourceIdentifiers = []string{"urn:a"}
			t.Clients[1].ResourceIdentifiers = []string{"urn:b", "urn:a"}
		}, fault("clients[1].resource_identifiers[1]: is the same as tenants[0].clients[0].resource_identifiers[0]")},
		public("rejects introspection by a public client", func(c *settings.ClientSpec) { c.Introspect = settings.IntrospectAudience },
			"clients[0].introspect: requires auth: secret"),
		secret("accepts a back end that manages sessions", func(c *settings.ClientSpec) { c.ManageSessions = true }),
		public("rejects a public client that manages sessions", func(c *settings.ClientSpec) { c.ManageSessions = true },
			"clients[0].manage_sessions: requires auth: secret"),
		secret("rejects another reach of introspection", func(c *settings.ClientSpec) { c.Introspect = "none" },
			"clients[1].introspect: must be one of audience, all"),
		secret("rejects another type of access token", func(c *settings.ClientSpec) { c.AccessTokenTyp = "jwt" },
			"clients[1].access_token_typ: must be one of at+jwt, JWT"),

		public("accepts origins as browsers and app shells send them", func(c *settings.ClientSpec) {
			c.Origins = []string{
				"https://app.example.com", "https://app.example.com:8443", "http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:8080", "https://[2001:db8::1]:8443",
				"capacitor://localhost", "ionic://localhost", "tauri://localhost", "http://tauri.localhost", "app://localhost", "app://obsidian.md", "app://.",
				"chrome-extension://abcdefghijklmnopabcdefghijklmnop", "moz-extension://0f7bd0a1-3cfc-4ba0-8c4d-1c6a7f0b2b5e",
				"safari-web-extension://E7D5A1B4-0000-4ba0-8c4d-1c6a7f0b2b5e", "https://*.preview.example.com", "https://*.example.com:8443",
			}
		}),
		public("rejects origins that browsers never send", func(c *settings.ClientSpec) {
			c.Origins = []string{"https://a/", "https://a/b", "https://A", "https://a:443", "https://a:", "ftp://a", "https://a?", "file://", "capacitor://evil", "chrome-extension://short"}
		},
			"clients[0].origins[0]: must not end with a slash",
			"clients[0].origins[1]: must not have a path",
			"clients[0].origins[2]: must be in lower case",
			"clients[0].origins[3]: must not contain the default port",
			"clients[0].origins[4]: must name one host, in ASCII and without a wildcard",
			"clients[0].origins[5]: "+shells,
			"clients[0].origins[6]: must not have a query or a fragment",
			"clients[0].origins[7]: "+shells,
			"clients[0].origins[8]: "+shells,
			"clients[0].origins[9]: "+shells),
		public("rejects origins that would let in everybody", func(c *settings.ClientSpec) {
			c.Origins = []string{"*", "null", "https://*", "https://*.com", "https://*.1.2.3.4", "http://*.example.com", "https://a.*.example.com", "https://*.*.example.com", "https://a*.example.com", "http://app.example.com"}
		},
			"clients[0].origins[0]: must name a host: a wildcard alone would allow every page",
			"clients[0].origins[1]: must not be null, which every sandboxed page sends",
			"clients[0].origins[2]: must name a host: a wildcard alone would allow every page",
			"clients[0].origins[3]: must name a domain of at least two labels after the wildcard, such as https://*.preview.example.com",
			"clients[0].origins[4]: must name a domain of at least two labels after the wildcard, such as https://*.preview.example.com",
			"clients[0].origins[5]: "+oneWildcard,
			"clients[0].origins[6]: "+oneWildcard,
			"clients[0].origins[7]: "+oneWildcard,
			"clients[0].origins[8]: "+oneWildcard,
			"clients[0].origins[9]: must be https; http is allowed only for loopback hosts, such as http://localhost:3000"),
		public("rejects a NUL wherever it is stored", func(c *settings.ClientSpec) { c.Allow, c.Claims = "a\x00", map[string]string{"a": "\xff"} },
			"clients[0].allow: must be UTF-8 without NUL",
			"clients[0].claims.a: must be UTF-8 without NUL"),
	})
}

func TestValidateClaims(t *testing.T) {
	claims := func(name string, claims map[string]string, want ...string) row {
		return row{name, func(t *settings.TenantSpec) { t.Clients[0].Claims = claims }, want}
	}
	many := map[string]string{}
	for i := range 51 {
		many[fmt.Sprint("c", i)] = "1"
	}
	long := strings.Repeat("c", 65)
	rows := []row{
		claims("accepts roles and a URI for a name", map[string]string{"roles": "[]", "https://example.com/plan": "1"}),
		claims("rejects one without a name", map[string]string{"": "1"}, "clients[0].claims.: has no name"),
		claims("rejects one without an expression", map[string]string{"a": " "}, "clients[0].claims.a: has no expression"),
		claims("rejects a name that would not print", map[string]string{"a\nb": "1"},
			`clients[0].claims["a\nb"]: the name must not contain control characters`),
		claims("rejects a name of 65 bytes", map[string]string{long: "1"},
			`clients[0].claims["`+long[:64]+`"]: the name is too long`),
		claims("rejects more than 50", many, "clients[0].claims: must have at most 50 entries"),
	}
	for name := range strings.FieldsSeq(`iss sub aud exp nbf iat jti client_id scope sid cnf act may_act auth_time acr amr acr_times status session_expiry
		active token_type username nonce azp events sub_id token_introspection latchkey_ latchkey_generation`) {
		rows = append(rows, claims("rejects the reserved name "+name, map[string]string{name: "1"}, "clients[0].claims."+name+": is a reserved name"))
	}
	check(t, rows)
}

func TestValidateIssuer(t *testing.T) {
	const at = "trusted_issuers[0]."
	entry := func(name string, change func(*settings.IssuerSpec), want ...string) row {
		for i := range want {
			want[i] = at + want[i]
		}
		return row{name, func(t *settings.TenantSpec) { change(&t.TrustedIssuers[0]) }, want}
	}
	shared := settings.IssuerKeys{SharedSecret: strings.Repeat("s", 32)}
	pem := settings.IssuerKeys{PEM: "-----BEGIN PUBLIC KEY-----"}
	const (
		oneSource = "keys: must be exactly one of discovery, jwks_uri, jwks, pem, shared_secret, internal"
		ours      = "issuer: must not be an issuer of this server"
	)
	rows := []row{
		entry("rejects one without an issuer", func(e *settings.IssuerSpec) { e.Issuer = "" }, "issuer: is missing"),
		entry("rejects plain http for discovery", func(e *settings.IssuerSpec) { e.Issuer = "http://auth" },
			"issuer: must be https; http requires allow_private_addresses: true"),
		entry("accepts plain http on a private network", func(e *settings.IssuerSpec) { e.Issuer, e.AllowPrivateAddresses = "http://auth", true }),
		entry("rejects for discovery what is no URL", func(e *settings.IssuerSpec) { e.Issuer = "urn:auth" }, "issuer: must be an https URL"),
		entry("rejects a query for discovery", func(e *settings.IssuerSpec) { e.Issuer += "?a" }, "issuer: must not have a query"),
		entry("accepts any name when the keys are given", func(e *settings.IssuerSpec) { e.Issuer, e.Keys = "my auth service", pem }),
		entry("rejects a name with control characters", func(e *settings.IssuerSpec) { e.Issuer, e.Keys = "a\x00", pem },
			"issuer: must not contain control characters"),
		entry("rejects a name of 1025 bytes", func(e *settings.IssuerSpec) { e.Issuer, e.Keys = strings.Repeat("a", 1025), pem }, "issuer: is too long"),
		entry("rejects our own issuer", func(e *settings.IssuerSpec) { e.Issuer = baseIssuer }, ours),
		entry("rejects our own issuer in another writing", func(e *settings.IssuerSpec) { e.Issuer = "HTTPS://id.example.com/" }, ours),
		entry("rejects our own issuer with its port", func(e *settings.IssuerSpec) { e.Issuer = "https://id.example.com:443" }, ours),
		entry("rejects our own issuer with a dot", func(e *settings.IssuerSpec) { e.Issuer = "https://id.example.com." }, ours),
		entry("rejects our own issuer with both", func(e *settings.IssuerSpec) { e.Issuer = "https://id.example.com.:443/t/shop/" }, ours),
		entry("accepts an issuer at another port of our host", func(e *settings.IssuerSpec) { e.Issuer = "https://id.example.com:8443" }),
		entry("rejects another tenant's issuer, whatever its keys", func(e *settings.IssuerSpec) { e.Issuer, e.Keys = baseIssuer+"/t/shop", pem }, ours),
		entry("accepts an issuer that only begins like ours", func(e *settings.IssuerSpec) { e.Issuer = baseIssuer + ".evil.example" }),
		entry("rejects another token type", func(e *settings.IssuerSpec) { e.TokenType = "saml2" }, "token_type: must be one of jwt, id_token"),

		entry("rejects one without keys", func(e *settings.IssuerSpec) { e.Keys = settings.IssuerKeys{} }, oneSource),
		entry("rejects keys from two places", func(e *settings.IssuerSpec) { e.Keys.JWKS = json.RawMessage(`{"keys":[]}`) }, oneSource),
		entry("rejects keys fetched over http", func(e *settings.IssuerSpec) { e.Keys = settings.IssuerKeys{JWKSURI: "http://auth/jwks"} },
			"keys.jwks_uri: must be https; http requires allow_private_addresses: true"),
		entry("rejects keys from a file", func(e *settings.IssuerSpec) { e.Keys = settings.IssuerKeys{JWKSURI: "file:///etc/jwks"} },
			"keys.jwks_uri: must be an https URL"),
		entry("rejects keys from a URL with a password", func(e *settings.IssuerSpec) { e.Keys = settings.IssuerKeys{JWKSURI: "https://a:b@auth/jwks"} },
			"keys.jwks_uri: must not contain a user name or password"),
		entry("rejects a short shared secret", func(e *settings.IssuerSpec) { e.Keys = settings.IssuerKeys{SharedSecret: "s"} },
			"keys.shared_secret: must be at least 32 bytes"),
		entry("accepts HS256 with a shared secret", func(e *settings.IssuerSpec) { e.Keys, e.Algorithms = shared, []string{"HS256"} }),
		entry("rejects RS256 with a shared secret", func(e *settings.IssuerSpec) { e.Keys, e.Algorithms = shared, []string{"HS256", "RS256"} },
			"algorithms[1]: must be HS256 with a shared secret"),
		entry("rejects HS256 with a public key", func(e *settings.IssuerSpec) { e.Keys, e.Algorithms = pem, []string{"RS256", "HS256"} },
			"algorithms[1]: HS256 requires keys.shared_secret"),
		entry("rejects none and HS512 as algorithms", func(e *settings.IssuerSpec) { e.Algorithms = []string{"none", "HS512"} },
			"algorithms[0]: must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519",
			"algorithms[1]: must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519"),

		entry("rejects empty lists, which would mean everything", func(e *settings.IssuerSpec) {
			e.Audiences, e.Algorithms, e.Clients = []string{}, []string{}, []string{}
		},
			"algorithms: is empty, which would mean the default: omit it, or list something",
			"audiences: is empty, which would mean the default: omit it, or list something",
			"clients: is empty, which would mean the default: omit it, or list something"),
		entry("rejects an empty audience", func(e *settings.IssuerSpec) { e.Audiences = []string{""} }, "audiences[0]: is missing"),
		entry("rejects our token endpoint as audience", func(e *settings.IssuerSpec) { e.Audiences = []string{baseIssuer + "/token"} },
			"audiences[0]: must not be the token endpoint"),
		entry("rejects ID tokens for any audience", func(e *settings.IssuerSpec) { e.TokenType = settings.TokenTypeIDToken },
			"audiences: is missing: list the client id at the provider"),
		entry("rejects a client that does not exist", func(e *settings.IssuerSpec) { e.Clients = []string{"web", "ios"} },
			"clients[1]: is not a client of this tenant"),

		entry("rejects spans that are out of bounds", func(e *settings.IssuerSpec) {
			e.MaxAge, e.MaxTokenLifetime, e.Leeway = span(25*time.Hour), span(31*24*time.Hour), span(6*time.Minute)
		}, "max_age: must be 1s to 1d", "max_token_lifetime: must be 1s to 30d", "leeway: must be 0s to 5m"),
		entry("rejects spans without a limit", func(e *settings.IssuerSpec) { e.MaxAge, e.MaxTokenLifetime, e.Leeway = span(-1), span(-1), span(-1) },
			"max_age: must be 1s to 1d", "max_token_lifetime: must be 1s to 30d", "leeway: must be 0s to 5m"),
		entry("accepts no leeway", func(e *settings.IssuerSpec) { e.Leeway = span(0) }),

		entry("rejects an assertion that means nothing", func(e *settings.IssuerSpec) { e.Asserts = &[]string{"acr", "sub"} },
			"asserts[1]: must be one of amr, auth_time, acr"),
		entry("accepts no assertions at all", func(e *settings.IssuerSpec) { e.Asserts = &[]string{} }),
		entry("rejects an unknown acr", func(e *settings.IssuerSpec) { e.MaxACR = "2" },
			"max_acr: must be one of urn:latchkey:acr:1, urn:latchkey:acr:2, phr, phrh"),
		entry("rejects a prefix that is not ASCII", func(e *settings.IssuerSpec) { e.SubjectPrefix = "é:" },
			"subject_prefix: must be 1–64 printable ASCII characters"),
		entry("rejects attributes that would pass for the subject or the assurance", func(e *settings.IssuerSpec) {
			e.UserAttributes = map[string]string{"sub": "token.sub", "acr": "token.acr"}
			e.SessionAttributes = map[string]string{"amr": "token.amr", "device": "token.device"}
		}, "user_attributes.sub: is a reserved name", "session_attributes.amr: is a reserved name"),
		entry("accepts a type of its own", func(e *settings.IssuerSpec) { e.Typ = "client-token+jwt" }),
		entry("accepts an identity provider that may revoke", func(e *settings.IssuerSpec) {
			e.MayRevoke, e.RevocationTyp, e.RevocationCallers = true, "global-token-revocation+jwt", []string{"0oa1"}
			e.SecurityEventAudience = "https://id.example.com/events"
		}),
		entry("rejects an email attribute that is not searchable", func(e *settings.IssuerSpec) { e.RevocationEmail = "email" },
			"revocation_email_attribute: must be one of searchable_attributes of the tenant"),
		entry("rejects one without a type of its own", func(e *settings.IssuerSpec) { e.MayRevoke = true },
			"revocation_typ: is missing: may_revoke requires the header typ of its tokens, such as global-token-revocation+jwt"),
		entry("rejects the type JWT for revocations", func(e *settings.IssuerSpec) { e.MayRevoke, e.RevocationTyp = true, "application/jwt" },
			"revocation_typ: must differ from the type of client tokens"),
		entry("rejects the type of its client tokens for revocations", func(e *settings.IssuerSpec) { e.MayRevoke, e.RevocationTyp, e.Typ = true, "X+JWT", "x+jwt" },
			"revocation_typ: must differ from the type of client tokens"),
		entry("rejects the type of another purpose for revocations", func(e *settings.IssuerSpec) { e.MayRevoke, e.RevocationTyp = true, "secevent+jwt" },
			"revocation_typ: is the type of tokens that do not prove a sign-in"),
		entry("rejects an empty list of callers", func(e *settings.IssuerSpec) {
			e.MayRevoke, e.RevocationTyp, e.RevocationCallers = true, "x+jwt", []string{""}
		}, "revocation_callers[0]: is missing"),
		entry("rejects back-channel logout of client tokens", func(e *settings.IssuerSpec) { e.BackchannelLogout = true },
			"backchannel_logout: requires token_type id_token"),
		entry("rejects the endpoints of identity providers as audiences", func(e *settings.IssuerSpec) {
			e.Audiences = []string{baseIssuer + "/global-token-revocation", baseIssuer + "/backchannel-logout", baseIssuer + "/security-events"}
		}, "audiences[0]: must not be an endpoint for identity providers", "audiences[1]: must not be an endpoint for identity providers", "audiences[2]: must not be an endpoint for identity providers"),
		entry("rejects a key set with a NUL", func(e *settings.IssuerSpec) { e.Keys = settings.IssuerKeys{JWKS: json.RawMessage(`{"a":"\u0000"}`)} },
			"keys.jwks: must be UTF-8 without NUL"),
	}
	for _, typ := range []string{"at+jwt", "AT+JWT", "application/at+jwt", "token-introspection+jwt", "logout+jwt", "secevent+jwt", "statuslist+jwt", "dpop+jwt", "client-authentication+jwt", "global-token-revocation+jwt"} {
		rows = append(rows, entry("rejects the type "+typ, func(e *settings.IssuerSpec) { e.Typ = typ },
			"typ: is the type of tokens that do not prove a sign-in"))
	}
	check(t, rows)
}

func TestValidateNamespaces(t *testing.T) {
	// Each word is the prefix of an entry. A word with + sets share_subjects.
	prefixes := func(name, words string, want ...string) row {
		return row{name, func(t *settings.TenantSpec) {
			template := t.TrustedIssuers[0]
			t.TrustedIssuers = nil
			for i, word := range strings.Split(words, " ") {
				entry := template
				entry.Issuer = fmt.Sprintf("https://auth%d.example.com", i)
				entry.SubjectPrefix, entry.ShareSubjects = strings.CutPrefix(word, "+")
				t.TrustedIssuers = append(t.TrustedIssuers, entry)
			}
		}, want}
	}
	same := "trusted_issuers[1].subject_prefix: is the same as tenants[0].trusted_issuers[0].subject_prefix: to share a namespace, each entry needs share_subjects: true"
	overlap := "trusted_issuers[1].subject_prefix: overlaps tenants[0].trusted_issuers[0].subject_prefix: neither may begin with the other"
	check(t, []row{
		prefixes("accepts two that differ", "a: b:"),
		prefixes("accepts one without a prefix beside others", "a:  b:"),
		prefixes("accepts two that both share", "+a: +a:"),
		prefixes("accepts two without a prefix that both share", "+ +"),
		prefixes("rejects two without a prefix", " ", same),
		prefixes("rejects two with one prefix", "a: a:", same),
		prefixes("rejects sharing that only one says", "+a: a:", same),
		prefixes("rejects a prefix of a prefix", "a ab", overlap),
		prefixes("rejects a prefix of a prefix the other way round", "ab a", overlap),
		prefixes("rejects an overlap although both share", "+a +ab", overlap),
		{"rejects two entries that match the same tokens", func(t *settings.TenantSpec) {
			twin := t.TrustedIssuers[0]
			twin.ID, twin.SubjectPrefix, twin.Audiences = "twin", "b:", []string{baseIssuer}
			t.TrustedIssuers[0].ID = "first"
			t.TrustedIssuers = append(t.TrustedIssuers, twin)
		}, fault("trusted_issuers[1]: accepts the same tokens as tenants[0].trusted_issuers[0]: token_type or audiences must differ")},
		{"rejects two entries that share an audience", func(t *settings.TenantSpec) {
			twin := t.TrustedIssuers[0]
			twin.ID, twin.SubjectPrefix, twin.Audiences = "twin", "b:", []string{"other", baseIssuer}
			t.TrustedIssuers[0].ID = "first"
			t.TrustedIssuers = append(t.TrustedIssuers, twin)
		}, fault("trusted_issuers[1]: accepts the same tokens as tenants[0].trusted_issuers[0]: token_type or audiences must differ")},
		{"accepts two entries of one issuer with other audiences", func(t *settings.TenantSpec) {
			twin := t.TrustedIssuers[0]
			twin.ID, twin.SubjectPrefix, twin.Audiences = "twin", "b:", []string{"other"}
			t.TrustedIssuers[0].ID = "first"
			t.TrustedIssuers = append(t.TrustedIssuers, twin)
		}, nil},
	})
}

func TestValidateUsers(t *testing.T) {
	user := func(name string, change func(*settings.UserSpec), want ...string) row {
		return row{name, func(t *settings.TenantSpec) { change(&t.Users[0]) }, want}
	}
	attribute := func(name, key string, value any, want ...string) row {
		return user(name, func(u *settings.UserSpec) { u.Attributes = map[string]any{key: value} }, want...)
	}
	const sub = "users[0].sub: must be 1–255 printable ASCII characters"
	check(t, []row{
		user("rejects one without a sub", func(u *settings.UserSpec) { u.Sub = "" }, "users[0].sub: is missing"),
		user("rejects a sub of 256 characters", func(u *settings.UserSpec) { u.Sub = strings.Repeat("a", 256) }, sub),
		user("rejects a sub that is not ASCII", func(u *settings.UserSpec) { u.Sub = "zoë" }, sub),
		user("rejects a sub with a NUL", func(u *settings.UserSpec) { u.Sub = "a\x00" }, sub),
		user("rejects a sub that is a client's id", func(u *settings.UserSpec) { u.Sub = "api" }, "users[0].sub: is the id of a client"),
		{"rejects two of one sub", func(t *settings.TenantSpec) { t.Users = append(t.Users, t.Users[0]) },
			fault("users[1].sub: is the same as tenants[0].users[0].sub")},
		attribute("accepts 4 KiB", "a", strings.Repeat("a", 4094)),
		attribute("rejects more than 4 KiB", "a", strings.Repeat("a", 4095), "users[0].attributes.a: must be at most 4 KiB as JSON"),
		attribute("rejects what JSON cannot hold", "a", math.NaN(), "users[0].attributes.a: must be a value that JSON can represent"),
		attribute("rejects one that would pass for the sub", "sub", "bob", "users[0].attributes.sub: is a reserved name"),
		attribute("rejects one without a name", "", 1, "users[0].attributes.: has no name"),
		attribute("rejects a NUL deep inside", "a", []any{map[string]any{"b": "\x00", "c\x00": 1}},
			"users[0].attributes.a[0].b: must be UTF-8 without NUL",
			`users[0].attributes.a[0]["c\x00"]: must be UTF-8 without NUL`),
	})
}

func duration(text string) *settings.Duration {
	d, err := settings.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	return &d
}

// Faults of origins in other forms.
const (
	shells      = "must be https://host or https://host:port, the origin of an app shell (capacitor://localhost, ionic://localhost, tauri://localhost, app://host) or of a browser extension"
	oneWildcard = "may have one wildcard, which must be the whole first label after https://, such as https://*.preview.example.com"
)

func TestValidateEventDestinations(t *testing.T) {
	receiver := func(id string, scopes ...string) settings.ClientSpec {
		return settings.ClientSpec{ID: id, Secret: strings.Repeat("s", 40), ClientSettings: settings.ClientSettings{
			Auth: settings.AuthSecret, Grants: []string{settings.GrantClientCredentials}, Scopes: scopes,
		}}
	}
	stream := func(kind, client string, stored bool) func(*settings.TenantSpec) {
		return func(s *settings.TenantSpec) {
			s.Clients = append(s.Clients, receiver("reader", "ssf.read"), receiver("manager", "ssf.manage"), receiver("other", "orders"))
			d := settings.DestinationSpec{ID: "stream", DestinationSettings: settings.DestinationSettings{Type: kind, Client: client}}
			if d.Stored = stored; kind == settings.DestinationPush {
				d.URL = "https://siem.example.com"
			}
			s.EventDestinations = append(s.EventDestinations, d)
		}
	}
	const poll, push = settings.DestinationPoll, settings.DestinationPush
	check(t, []row{
		{"a client that may read polls", stream(poll, "reader", false), nil},
		{"a client that may manage polls", stream(poll, "manager", false), nil},
		{"a client without the scopes polls", stream(poll, "other", false), fault("event_destinations[0].client: must be a client whose scopes list ssf.read or ssf.manage: without them, it may not poll")},
		{"a client whose scope was taken away polled", stream(poll, "other", true), nil},
		{"a client without the scopes is sent events", stream(push, "other", false), nil},
		{"a client that does not exist", stream(poll, "nobody", false), fault("event_destinations[0].client: is not a client of this tenant")},
	})
}
