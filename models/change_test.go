package models_test

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// printed is the difference as `latchkey apply` shows it.
func printed(changes []models.Change) string {
	var text strings.Builder
	for _, c := range changes {
		c.Print(&text)
	}
	return text.String()
}

func TestChangesReadLikeTheFile(t *testing.T) {
	const created = `+ tenant office
    acr: [{"value":"low","when":"amr.size() > 0"},{"value":"high","when":"factors.exists(f, f.age < 60)"}]
    signing_algorithm: "ES256"
+ office/client app
    allow: "token.age < 3 && token.ok"
    auth: "secret"
    claims.a.b: "1"
    claims.é: "2"
    default_scopes: []
    grants: ["token-exchange"]
    max_sessions_per_user.limit: 3
    max_sessions_per_user.when_full: "reject"
    preset: "aal2"
    refresh_grace: "0s"
    secret: changed
    previous_secret: changed
+ office/client api
    auth: "secret"
    secret: changed
+ office/issuer auth-example-com
    audiences: ["one"]
    issuer: "https://auth.example.com"
    keys.discovery: true
    subject_prefix: "a:"
    token_type: "jwt"
+ office/issuer legacy
    asserts: []
    issuer: "legacy"
    max_age: "1h"
    subject_prefix: "b:"
    token_type: "jwt"
    keys.shared_secret: changed
+ office/issuer inline
    issuer: "inline"
    keys.jwks: {"keys":[{"kty":"RSA","n":"a<b&c"}]}
    subject_prefix: "c:"
    token_type: "jwt"
+ office/user bob
    attributes.deep: {"a":null,"b":[1,"<"]}
    attributes.half: 0.5
    attributes.id: 9007199254740993
    attributes.none: null
    attributes.vast: 18446744073709552000
+ office/user eve
    disabled: true
`
	const changed = `~ tenant office
    disabled: true
    signing_algorithm: "ES256" → (default)
~ office/client app
    absolute_lifetime: "12h"
    allow: "token.age < 3 && token.ok" → "token.age < 4"
    claims.a.b: "1" → "2"
    claims.é: "2" → (default)
    preset: "aal2" → (default)
    secret: changed
    previous_secret: changed
    ! changes who may sign in: the allow rule differs
    ! loosens: inactivity_timeout is longer, 5d instead of 1h
~ office/issuer auth-example-com
    audiences: ["one"] → ["two"]
    keys.discovery: true → (default)
    keys.jwks_uri: "https://auth.example.com/jwks"
    ! changes who may vouch for users: the keys come from another source
    ! loosens: new audience "two"
~ office/issuer legacy
    keys.shared_secret: changed
~ office/user bob
    attributes.half: 0.5 → "a \\u003c b"
~ office/user eve
    disabled: true → (default)
    ! loosens: disabled is removed: the user may sign in again
`
	each(t, func(t *testing.T, w *fixture) {
		if got := printed(w.apply(office())); got != created {
			t.Errorf("made:\n%s\nwant:\n%s", got, created)
		}
		spec := office()
		spec.SigningAlgorithm, spec.Disabled = "", true
		app := &spec.Clients[0]
		app.AbsoluteLifetime, app.Preset, app.Allow, app.Claims = span(12*time.Hour), "", "token.age < 4", map[string]string{"a.b": "2"}
		app.Secret, app.PreviousSecret = strings.Repeat("t", 32), ""
		spec.TrustedIssuers[0].Audiences = []string{"two"}
		spec.TrustedIssuers[0].Keys = settings.IssuerKeys{JWKSURI: "https://auth.example.com/jwks"}
		spec.TrustedIssuers[1].Keys.SharedSecret = strings.Repeat("i", 32)
		spec.Users[0].Attributes["half"] = `a \u003c b`
		spec.Users[1].Disabled = false
		if got := printed(w.apply(spec)); got != changed {
			t.Errorf("changed:\n%s\nwant:\n%s", got, changed)
		}
	})
}

func TestOnlyAChangeOfAnExistingObjectLoosens(t *testing.T) {
	loose := func() settings.TenantSpec {
		spec := settings.TenantSpec{ID: "loose", KeyRotation: span(900 * 24 * time.Hour), TrustedIssuers: []settings.IssuerSpec{entry("https://loose.example.com", "l:")}, Clients: []settings.ClientSpec{{
			ID: "app", Secret: strings.Repeat("s", 32), ClientSettings: settings.ClientSettings{Auth: settings.AuthSecret, AccessTokenTTL: span(time.Hour), Introspect: settings.IntrospectAll}}}}
		spec.TrustedIssuers[0].MaxAge = span(time.Hour)
		return spec
	}
	each(t, func(t *testing.T, w *fixture) {
		for _, o := range []models.ApplyOptions{{}, {Replace: true}} {
			o.DryRun = true
			changes, err := w.Apply(t.Context(), []settings.TenantSpec{loose()}, secrets{}, o)
			must(t, err)
			if text := printed(changes); len(changes) != 3 || strings.Contains(text, "!") {
				t.Errorf("new objects loosen something:\n%s", text)
			}
		}
		strict := settings.TenantSpec{ID: "loose", TrustedIssuers: []settings.IssuerSpec{entry("https://loose.example.com", "l:")},
			Clients: []settings.ClientSpec{{ID: "app", Secret: strings.Repeat("s", 32), ClientSettings: settings.ClientSettings{Auth: settings.AuthSecret}}}}
		w.apply(strict)
		text := printed(w.apply(loose()))
		for _, want := range []string{"key_rotation is longer", "max_age is longer", "access_token_ttl is longer", "introspect is all"} {
			if !strings.Contains(text, "! loosens: "+want) {
				t.Errorf("a change of an existing object does not print %q:\n%s", want, text)
			}
		}
	})
}
