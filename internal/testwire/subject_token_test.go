package testwire

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

// claimCases pairs the name of a case with the one claim that it changes.
type claimCases []struct {
	name, claim string
	value       any
}

func TestExchangeRejectsASubjectTokenWith(t *testing.T) {
	d := testserver.NewExchanger(t, testdb.SQLite(t))
	now := d.Clock.Now().Unix()
	for _, row := range (claimCases{
		{"no exp", "exp", nil},
		{"an exp of zero", "exp", 0},
		{"an exp that is a string", "exp", fmt.Sprint(now + 60)},
		{"an exp in the past", "exp", now - 31},
		{"a lifetime of more than ten minutes", "exp", now + 601},
		{"no iat", "iat", nil},
		{"an iat in the future", "iat", now + 31},
		{"an iat too long ago", "iat", now - 331},
		{"an nbf in the future", "nbf", now + 31},
		{"no aud", "aud", nil},
		{"an empty aud", "aud", ""},
		{"an aud that is an empty list", "aud", []string{}},
		{"an aud that is a number", "aud", 7},
		{"an aud with an additional number", "aud", []any{d.URL, 7}},
		{"a foreign aud", "aud", "https://other.example.com"},
		{"an additional foreign aud", "aud", []string{d.URL, "https://other.example.com"}},
		{"the token endpoint as aud", "aud", d.URL + "/token"},
		{"the tenant's issuer with a slash as aud", "aud", d.URL + "/"},
		{"another tenant as aud", "aud", d.URL + "/t/shop"},
		{"the client as aud", "aud", "web"},
		{"no iss", "iss", nil},
		{"an unknown iss", "iss", "https://other.example.com"},
		{"an iss with an additional slash", "iss", d.Issuer.URL + "/"},
		{"an iss that is a list", "iss", []string{d.Issuer.URL}},
		{"the server's iss", "iss", d.URL},
		{"the tenant's iss", "iss", d.URL + "/t/shop"},
		{"no sub", "sub", nil},
		{"an empty sub", "sub", ""},
		{"a sub that is a number", "sub", 7},
		{"a sub of 256 characters", "sub", strings.Repeat("a", 256)},
		{"a sub that is not ASCII", "sub", "zoë"},
		{"a NUL in sub", "sub", "alice\x00"},
		{"a client's id as sub", "sub", "backend"},
		{"no jti", "jti", nil},
		{"an empty jti", "jti", ""},
		{"a jti that is a number", "jti", 1},
		{"a jti of more than a kilobyte", "jti", strings.Repeat("j", 1025)},
		{"another client's client_id", "client_id", "backend"},
		{"an empty client_id", "client_id", ""},
		{"an auth_time in the future", "auth_time", now + 31},
		{"an amr that is a string", "amr", "pwd"},
		{"more than 16 KiB", "a", strings.Repeat("a", 16<<10)},
	}) {
		t.Run(row.name, func(t *testing.T) {
			d.WantRejected(t, testserver.TypeJWT, d.TokenWith(map[string]any{row.claim: row.value}))
		})
	}
}

func TestExchangeAcceptsASubjectTokenWith(t *testing.T) {
	d := testserver.NewExchanger(t, testdb.SQLite(t))
	now := d.Clock.Now().Unix()
	for _, row := range (claimCases{
		{"a fractional exp", "exp", float64(now) + 59.5},
		{"a life of ten minutes", "exp", now + 600},
		{"an exp that has just passed", "exp", now - 29},
		{"an iat that is almost now", "iat", now + 30},
		{"an iat five minutes ago", "iat", now - 330},
		{"an aud that is a list with the issuer", "aud", []string{d.URL}},
		{"the client's client_id", "client_id", "web"},
		{"a sub of 255 characters", "sub", strings.Repeat("a", 255)},
		{"null for what is optional", "client_id", nil},
		{"claims that mean nothing here", "x", map[string]any{"exp": []int{1}}},
	}) {
		t.Run(row.name, func(t *testing.T) {
			d.WantAccepted(t, testserver.TypeJWT, d.TokenWith(map[string]any{row.claim: row.value}))
		})
	}
}

func TestARejectedExchangeLeavesTheTokenUnused(t *testing.T) {
	d := testserver.NewExchanger(t, testdb.SQLite(t))
	token := d.TokenWith(map[string]any{"client_id": "web"})
	type form = []string
	subject := form{"client_id", "web", "subject_token", token, "subject_token_type", testserver.TypeJWT}
	for _, row := range []struct {
		name, code string
		form       form
	}{
		{"no subject_token", "invalid_request", form{"client_id", "web", "subject_token_type", testserver.TypeJWT}},
		{"an empty subject_token", "invalid_request", form{"client_id", "web", "subject_token", "", "subject_token_type", testserver.TypeJWT}},
		{"no subject_token_type", "invalid_request", form{"client_id", "web", "subject_token", token}},
		{"another subject_token_type", "invalid_request", form{"client_id", "web", "subject_token", token, "subject_token_type", "urn:ietf:params:oauth:token-type:saml2"}},
		{"the type of an ID token", "invalid_request", form{"client_id", "web", "subject_token", token, "subject_token_type", testserver.TypeIDToken}},
		{"an actor_token", "invalid_request", append(form{"actor_token", token, "actor_token_type", testserver.TypeJWT}, subject...)},
		{"an actor_token without its type", "invalid_request", append(form{"actor_token", token}, subject...)},
		{"an actor_token_type without a token", "invalid_request", append(form{"actor_token_type", testserver.TypeJWT}, subject...)},
		{"the type of the server's session token", "invalid_request", form{"client_id", "web", "subject_token", token, "subject_token_type", "urn:latchkey:params:oauth:token-type:session"}},
		{"an unknown requested_token_type", "invalid_request", append(form{"requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"}, subject...)},
		{"a resource with a fragment", "invalid_target", append(form{"resource", "https://api.example.com/#x"}, subject...)},
		{"a resource that it may not have", "invalid_target", append(form{"resource", "https://other.example.com"}, subject...)},
		{"a resource that only begins like one that it may have", "invalid_target", append(form{"resource", "https://api.example.com/../admin"}, subject...)},
		{"one of two resources", "invalid_target", append(form{"resource", "https://api.example.com", "resource", "https://other.example.com"}, subject...)},
		{"an audience that it may not have", "invalid_target", append(form{"audience", "backend"}, subject...)},
		{"a scope that it may not have", "invalid_scope", append(form{"scope", "profile admin"}, subject...)},
		{"a scope with a tab", "invalid_scope", append(form{"scope", "profile\torders:read"}, subject...)},
		{"a scope that it may not have, after two spaces", "invalid_scope", append(form{"scope", "profile  admin"}, subject...)},
		{"six targets", "invalid_target", append(form{"audience", "web", "audience", "1", "audience", "2", "audience", "3", "audience", "4", "audience", "5"}, subject...)},
		{"another client's token", "invalid_request", form{"client_id", "backend", "client_secret", testserver.ClientSecret, "subject_token", token, "subject_token_type", testserver.TypeJWT}},
		{"a device name of 101 characters", "invalid_request", append(form{"latchkey_device_name", strings.Repeat("é", 101)}, subject...)},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := d.Post("/token", append(form{"grant_type", testserver.GrantTokenExchange}, row.form...))
			if a.Status != http.StatusBadRequest || a.Error() != row.code || d.Written() != [4]int{} {
				t.Errorf("status %d %s, written %v", a.Status, a.Body, d.Written())
			}
		})
	}
	d.WantAccepted(t, testserver.TypeJWT, token)
}

func TestExchangeRejectsTheServersOwnTokens(t *testing.T) {
	d := testserver.NewExchanger(t, testdb.SQLite(t))
	form := []string{"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeJWT, "subject_token", d.TokenWith(nil)}
	ours := d.Post("/token", form, testserver.Basic("backend", testserver.ClientSecret))
	for _, kind := range []string{"access_token", "refresh_token", "session_token"} {
		for _, as := range []string{testserver.TypeJWT, testserver.TypeIDToken, "urn:ietf:params:oauth:token-type:access_token", "urn:ietf:params:oauth:token-type:refresh_token"} {
			t.Run(kind+" as "+as, func(t *testing.T) {
				if ours.Text(kind) == "" {
					t.Fatalf("there is none: %s", ours.Body)
				}
				d.WantRejected(t, as, ours.Text(kind))
			})
		}
	}
}
