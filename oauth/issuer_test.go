package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/settings"
)

// tenantOf returns a tenant as a node builds it from rows. Rows that cannot be used
// are logged.
func tenantOf(k *keys.Roots, clients []models.Client, issuers ...models.TrustedIssuer) *Tenant {
	r := &registry{keys: k, base: "https://id.example.com", now: time.Now, log: slog.New(slog.DiscardHandler), sources: newSources(time.Now, slog.New(slog.DiscardHandler), nil)}
	return r.build(&models.TenantConfig{Tenant: models.Tenant{ID: "default"}, Clients: clients, Issuers: issuers})
}

// p256JWKS is a key set with one public key, for ES256.
var p256JWKS = func() json.RawMessage {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k"}}})
	if err != nil {
		panic(err)
	}
	return text
}()

// prefixed returns the row of an entry with its own key.
func prefixed(t *testing.T, issuer, prefix string, share bool) models.TrustedIssuer {
	t.Helper()
	return models.TrustedIssuer{TenantID: "default", ID: issuer, Settings: settings.IssuerSettings{
		Issuer: issuer, TokenType: settings.TokenTypeJWT, SubjectPrefix: prefix, ShareSubjects: share,
		Keys: settings.IssuerKeys{JWKS: p256JWKS},
	}}
}

func TestNoIssuerVouchesForUsersOfAnother(t *testing.T) {
	clients := []models.Client{{ID: "web"}, {ID: "ios", Disabled: true}, {ID: "broken", Settings: settings.ClientSettings{Allow: "no rule"}}}
	bare, corp := prefixed(t, "https://bare", "", false), prefixed(t, "https://corp", "corp:", false)
	// The configuration cannot contain this pair. If it did, neither would vouch for the other.
	q, qz := prefixed(t, "https://q", "q", false), prefixed(t, "https://qz", "qz", false)
	b := prefixed(t, "https://b", "b", false)
	disabled := prefixed(t, "https://gone", "gone:", false)
	disabled.Disabled, disabled.Settings.Disabled = true, true
	// An entry whose secret was sealed with a root that is not configured.
	sealed := prefixed(t, "https://sealed", "sealed:", false)
	sealed.Settings.Keys = settings.IssuerKeys{}
	sealed.SealedSecret, sealed.RootVersion = keysOf(t, rootB).SealIssuerSecret("default", "https://sealed", strings.Repeat("s", 32))
	shareOne, shareTwo := prefixed(t, "https://one", "team:", true), prefixed(t, "https://two", "team:", true)
	tenant := tenantOf(keysOf(t, rootA), clients, bare, corp, q, qz, b, disabled, sealed, shareOne, shareTwo)
	if len(tenant.issuers) != 8 || len(tenant.clients) != 2 {
		t.Fatalf("%d entries and %d clients can be used", len(tenant.issuers), len(tenant.clients))
	}
	for _, row := range []struct{ name, issuer, sub, want string }{
		{"the entry without a prefix vouches for its own", "https://bare", "alice", "alice"},
		{"an entry prepends its prefix", "https://corp", "alice", "corp:alice"},
		{"an entry prepends its prefix to another prefix", "https://corp", "gone:alice", "corp:gone:alice"},
		{"entries that share vouch for the same users", "https://one", "alice", "team:alice"},
		{"the other entry that shares", "https://two", "alice", "team:alice"},
		{"a part of another prefix", "https://bare", "cor", "cor"},
		{"another prefix in capitals", "https://bare", "CORP:alice", "CORP:alice"},
		{"a user of another entry", "https://bare", "corp:alice", ""},
		{"another prefix alone", "https://bare", "corp:", ""},
		{"a subject that completes a longer prefix", "https://q", "zX", ""},
		{"the same subject from that entry", "https://qz", "X", ""},
		{"a user of a disabled entry", "https://bare", "gone:alice", ""},
		{"a user of an entry that cannot be used", "https://bare", "sealed:alice", ""},
		{"a user of entries that share among themselves", "https://bare", "team:alice", ""},
		{"the id of a client", "https://bare", "web", ""},
		{"the id of a disabled client", "https://bare", "ios", ""},
		{"the id of a client that cannot be used", "https://bare", "broken", ""},
		{"a prefix that completes the id of a client", "https://b", "roken", ""},
		{"an empty subject", "https://bare", "", ""},
		{"an empty subject with a prefix", "https://corp", "", ""},
		{"255 characters", "https://bare", strings.Repeat("x", 255), strings.Repeat("x", 255)},
		{"256 characters", "https://bare", strings.Repeat("x", 256), ""},
		{"255 characters and a prefix", "https://corp", strings.Repeat("x", 255), ""},
		{"a space", "https://bare", "alice smith", "alice smith"},
		{"a NUL", "https://bare", "alice\x00", ""},
		{"a newline", "https://bare", "alice\n", ""},
		{"a character that is not ASCII", "https://bare", "zoë", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := &Subject{entry: tenant.issuerEntry(row.issuer), claims: map[string]any{"sub": row.sub}}
			err := s.mapUser(tenant.client("web"))
			if row.want == "" && refusal(err) != "400 invalid_request" || row.want != "" && (err != nil || s.sub != row.want) {
				t.Errorf("%q, %v", s.sub, err)
			}
		})
	}
}

func TestIssuersOfThisServerAreNeverTrusted(t *testing.T) {
	const base = "https://id.example.com"
	for iss, trusted := range map[string]bool{
		base: false, base + "/t/default": false, base + "/t/shop": false, base + "/t/": false,
		base + "/client-tokens": true, base + "/t/shop/client-tokens": true, base + ".evil.example": true, "https://auth.example.com": true,
	} {
		tenant := tenantOf(keysOf(t, rootA), []models.Client{{ID: "web"}}, prefixed(t, iss, "", false)) // whatever is stored
		entry, err := tenant.chooseIssuer(tenant.client("web"), map[string]any{"iss": iss, "aud": base}, settings.TokenTypeJWT, base)
		if (entry != nil) != trusted || (refusal(err) == "") != trusted {
			t.Errorf("%s: %v, %v", iss, entry, err)
		}
	}
}

func TestSharedSecretOpensOnlyForItsEntry(t *testing.T) {
	k := keysOf(t, rootA)
	signing, err := k.NewSigningKey("default", "ES256", epoch, epoch)
	if err != nil {
		t.Fatal(err)
	}
	entry := func(tenant, issuer string) models.TrustedIssuer {
		row := models.TrustedIssuer{ID: issuer, Settings: settings.IssuerSettings{Issuer: "https://auth", TokenType: settings.TokenTypeJWT, Algorithms: []string{"HS256"}}}
		row.SealedSecret, row.RootVersion = k.SealIssuerSecret(tenant, issuer, strings.Repeat("s", 32))
		return row
	}
	for name, c := range map[string]struct {
		row    models.TrustedIssuer
		usable bool
	}{
		"its own secret":                      {entry("default", "https://auth"), true},
		"a secret copied from another tenant": {entry("shop", "https://auth"), false},
		"a secret copied from another entry":  {entry("default", "https://other"), false},
		"a signing key instead of a secret":   {models.TrustedIssuer{SealedSecret: signing.Sealed, RootVersion: signing.RootVersion}, false},
		"a secret that was not sealed":        {models.TrustedIssuer{SealedSecret: []byte(strings.Repeat("s", 64))}, false},
		"an empty secret":                     {models.TrustedIssuer{SealedSecret: []byte{}}, false},
	} {
		if c.row.Settings.Issuer == "" {
			c.row.Settings = settings.IssuerSettings{Issuer: "https://auth", TokenType: settings.TokenTypeJWT}
		}
		if got := len(tenantOf(k, nil, c.row).issuers) == 1; got != c.usable {
			t.Errorf("%s: usable %t", name, got)
		}
	}
}
