package testserver

import (
	"encoding/base64"
	"slices"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/settings"
)

// OnSQLite is for tests whose requests use no statement that differs between the
// engines.
func OnSQLite(t *testing.T) Options {
	return Options{DatabaseURL: testdb.SQLite(t)}
}

// APIClient is a resource server that may introspect only tokens issued for it.
func APIClient() settings.ClientSpec {
	return settings.ClientSpec{ID: "api", Secret: "another-client-secret-for-tests-of-many-characters", ClientSettings: settings.ClientSettings{
		Auth: settings.AuthSecret, ResourceIdentifiers: []string{"https://api.example.com"},
	}}
}

// Origin sends a browser's Origin header.
func Origin(o string) Option { return Header("Origin", o) }

// Origins of browser apps: those of the client web, of a second client and of a client of
// a second tenant, and one that no client lists.
const (
	OriginWeb   = "https://app.example.com"
	OriginOther = "https://other.example.com"
	OriginAcme  = "https://acme.example.com"
	OriginEvil  = "https://evil.example"
)

// WantAllowedOrigin checks which origin may read a response; empty: none.
func WantAllowedOrigin(t *testing.T, what string, a *Answer, want string) {
	t.Helper()
	h := a.Header
	if got := h.Values("Access-Control-Allow-Origin"); want == "" && len(got) > 0 || want != "" && !slices.Equal(got, []string{want}) {
		t.Errorf("%s: status %d, allows %q, want %q", what, a.Status, got, want)
	}
	if h.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%s: allows cookies", what)
	}
}

// IntrospectionJWT is the media type of RFC 9701.
const IntrospectionJWT = "application/token-introspection+jwt"

// Accept sets the Accept header.
func Accept(types string) Option { return Header("Accept", types) }

// BasicText sends credentials with HTTP Basic exactly as given, without form
// encoding.
func BasicText(pair string) Option {
	return Authorization("Basic " + base64.StdEncoding.EncodeToString([]byte(pair)))
}
