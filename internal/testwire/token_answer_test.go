package testwire

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

func TestEveryGrantHasTheSameResponse(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		bare := testserver.Web()
		bare.ID, bare.Scopes = "bare", nil
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(), bare))
		first := d.SignIn("alice")
		d.Clock.Advance(time.Second)
		refreshed := d.Refresh("", "web", first.Text("refresh_token"))
		for _, c := range []struct {
			name, scope string
			answer      *testserver.Answer
		}{
			{"an exchange", "profile orders:read", first},
			{"an exchange for less", "profile", d.SignIn("alice", "scope", "profile")},
			{"an exchange of a client without scopes", "", d.Exchange("", "bare", d.Issuer.Token(d.URL, "alice", nil))},
			{"a refresh", "profile orders:read", refreshed},
			{"a retry", "profile orders:read", d.Refresh("", "web", first.Text("refresh_token"))},
			{"a refresh for less", "orders:read", d.Refresh("", "web", refreshed.Text("refresh_token"), "scope", "orders:read")},
			{"client credentials", "profile orders:read", d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("backend", testserver.ClientSecret))},
		} {
			t.Run(c.name, func(t *testing.T) {
				a := d.Want(200, "", c.answer)
				for name, want := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache"} {
					if a.Header.Get(name) != want {
						t.Errorf("%s: %q", name, a.Header.Get(name))
					}
				}
				if scope, present := a.JSON["scope"]; !present || scope != c.scope {
					t.Errorf("scope is %v, want %q", scope, c.scope)
				}
				if a.Text("token_type") != "Bearer" || !regexp.MustCompile(`"expires_in":300[,}]`).Match(a.Body) {
					t.Errorf("%s", a.Body)
				}
				if got := testserver.Claims(t, a); got["exp"].(float64)-got["iat"].(float64) != 300 {
					t.Errorf("the token is valid from %v to %v", got["iat"], got["exp"])
				}
			})
		}
	})
}

// TestADatabaseErrorIsNeverARejection renames tables that the flows need while the
// database is running. No response may claim that a token or client is invalid.
func TestADatabaseErrorIsNeverARejection(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		token := a.Text("refresh_token")
		machine := d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("backend", testserver.ClientSecret)))
		unspent := d.Issuer.Token(d.URL, "bob", nil)
		db := testserver.OpenDatabase(t, d.DatabaseURL)
		rename := func(from, to string) {
			if _, err := db.Exec("ALTER TABLE " + from + " RENAME TO " + to); err != nil {
				t.Fatal(err)
			}
		}
		for table, requests := range map[string]map[string]func() *testserver.Answer{
			"sessions": {
				"an exchange":        func() *testserver.Answer { return d.Exchange("", "web", unspent) },
				"a refresh":          func() *testserver.Answer { return d.Refresh("", "web", token) },
				"a refresh for less": func() *testserver.Answer { return d.Refresh("", "web", token, "scope", "profile") },
				"an introspection":   func() *testserver.Answer { return d.Introspect("", a.Text("access_token")) },
				"a revocation":       func() *testserver.Answer { return d.Post("/revoke", []string{"client_id", "web", "token", token}) },
			},
			"spent_tokens": {"an exchange": func() *testserver.Answer { return d.Exchange("", "web", unspent) }},
			"users": {
				"an exchange": func() *testserver.Answer { return d.Exchange("", "web", unspent) },
				"a refresh":   func() *testserver.Answer { return d.Refresh("", "web", token) },
			},
			"revoked_tokens": {
				"an introspection": func() *testserver.Answer { return d.Introspect("", machine.Text("access_token")) },
			},
		} {
			rename(table, "away")
			for name, request := range requests {
				answer := request()
				if (answer.Status != 500 || answer.Error() != "server_error") && (answer.Status != 503 || answer.Error() != "temporarily_unavailable" || answer.Header.Get("Retry-After") == "") {
					t.Errorf("%s without %s: %d %s", name, table, answer.Status, answer.Body)
				}
				if answer.Header.Get("Cache-Control") != "no-store" || len(answer.JSON) != 3 || answer.Text("latchkey_reason") != answer.Error() {
					t.Errorf("%s without %s: %s %v", name, table, answer.Body, answer.Header)
				}
			}
			rename("away", table)
		}
		d.Want(200, "", d.Exchange("", "web", unspent))
		d.Want(200, "", d.Refresh("", "web", token))
	})
}

func TestAnUnreadableSessionIsNotARejection(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		b := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		if _, err := testserver.OpenDatabase(t, d.DatabaseURL).Exec("UPDATE sessions SET factors = '{'"); err != nil {
			t.Fatal(err)
		}
		for name, answer := range map[string]*testserver.Answer{
			"a used token":       d.Refresh("", "web", a.Text("refresh_token")),
			"a refresh for less": d.Refresh("", "web", b.Text("refresh_token"), "scope", "profile"),
			"a refresh":          d.Refresh("", "web", b.Text("refresh_token")),
			"an introspection":   d.Introspect("", b.Text("access_token")),
			"a revocation":       d.Post("/revoke", []string{"client_id", "web", "token", b.Text("refresh_token")}),
		} {
			if answer.Status != 500 || answer.Error() != "server_error" {
				t.Errorf("%s: %d %s", name, answer.Status, answer.Body)
			}
		}
	})
}

// TestAnExpressionThatDoesNotCompileIsNotARejection stores expressions that this node
// cannot use, as a newer one might.
func TestAnExpressionThatDoesNotCompileIsNotARejection(t *testing.T) {
	for of, table := range map[string]string{"client": "clients WHERE id = 'web'", "issuer": "trusted_issuers"} {
		t.Run(of, func(t *testing.T) {
			testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
				client, entry := testserver.Web(), d.Issuer.Entry()
				client.Allow, entry.Subject = "token.sub == 'alice'", "token.sub + ''"
				d.Apply(settings.TenantSpec{ID: "default", Clients: []settings.ClientSpec{client, testserver.Backend()}, TrustedIssuers: []settings.IssuerSpec{entry}})
				d.SignIn("alice")
				table, where, _ := strings.Cut(table, " ")
				db := testserver.OpenDatabase(t, d.DatabaseURL)
				for _, statement := range []string{
					"UPDATE " + table + " SET settings = REPLACE(settings, 'token.sub', 'of.tomorrow(') " + where,
					"UPDATE tenants SET revision = revision + 1",
				} {
					if _, err := db.Exec(statement); err != nil {
						t.Fatal(err)
					}
				}
				if err := d.OAuth.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				d.Want(500, "server_error", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", nil)))
				d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("backend", testserver.ClientSecret)))
			})
		})
	}
}
