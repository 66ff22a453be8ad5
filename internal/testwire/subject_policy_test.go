package testwire

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// about introspects a response's access token, which must be active.
func about(d *testserver.Exchanger, a *testserver.Answer) map[string]any {
	d.T.Helper()
	in := d.Introspect("", a.Text("access_token"))
	if in.JSON["active"] != true {
		d.T.Errorf("status %d %s, introspected %s", a.Status, a.Body, in.Body)
	}
	return in.JSON
}

func TestExchangeChecksWhetherEverybodyIsEnabled(t *testing.T) {
	no := false
	entry := func(fn func(*settings.IssuerSpec)) func(*settings.TenantSpec) {
		return func(tenant *settings.TenantSpec) { fn(&tenant.TrustedIssuers[0]) }
	}
	client := func(fn func(*settings.ClientSpec)) func(*settings.TenantSpec) {
		return func(tenant *settings.TenantSpec) { fn(&tenant.Clients[0]) }
	}
	user := func(u settings.UserSpec) func(*settings.TenantSpec) {
		return func(tenant *settings.TenantSpec) { tenant.Users = []settings.UserSpec{u} }
	}
	noNewUsers := entry(func(e *settings.IssuerSpec) { e.CreateUsers = &no })
	alice := user(settings.UserSpec{Sub: "alice"})
	for _, row := range []struct {
		name          string
		while, after  func(*settings.TenantSpec)
		status        int
		code          string
		backendMayUse bool // whether the backend may use the same token at that time
	}{
		{"a disabled issuer", entry(func(e *settings.IssuerSpec) { e.Disabled = true }), nil, 400, "invalid_request", false},
		{"an issuer for other clients", entry(func(e *settings.IssuerSpec) { e.Clients = []string{"backend"} }), nil, 400, "invalid_request", true},
		{"an issuer that is not for public clients", entry(func(e *settings.IssuerSpec) { e.PublicClients = &no }), nil, 400, "invalid_request", true},
		{"a user who is not to be created", noNewUsers, func(tenant *settings.TenantSpec) { noNewUsers(tenant); alice(tenant) }, 400, "invalid_request", false},
		{"a disabled user", user(settings.UserSpec{Sub: "alice", Disabled: true}), alice, 400, "invalid_request", false},
		{"a disabled client", client(func(c *settings.ClientSpec) { c.Disabled = true }), nil, 401, "invalid_client", true},
		{"a disabled tenant", func(tenant *settings.TenantSpec) { tenant.Disabled = true }, nil, 401, "invalid_client", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := testserver.NewExchanger(t, testdb.SQLite(t), row.while)
			before, token := d.Written(), d.TokenWith(nil)
			a := d.Present(testserver.TypeJWT, token)
			if a.Status != row.status || a.Error() != row.code || d.Written() != before {
				t.Errorf("status %d %s, written %v after %v", a.Status, a.Body, d.Written(), before)
			}
			as := func(token string) *testserver.Answer {
				return d.Post("/token", []string{"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeJWT, "subject_token", token}, testserver.Basic("backend", testserver.ClientSecret))
			}
			if b := as(d.TokenWith(nil)); (b.Status == http.StatusOK) != row.backendMayUse {
				t.Errorf("the client backend returned status %d %s", b.Status, b.Body)
			}
			if row.after == nil {
				row.after = func(*settings.TenantSpec) {}
			}
			d.Reconfigure(row.after)
			d.WantAccepted(t, testserver.TypeJWT, token)
		})
	}
}

func TestExchangeChecksTheDatabaseForDisabledUsers(t *testing.T) {
	for name, disable := range map[string]func(*settings.TenantSpec){
		"issuer": func(tenant *settings.TenantSpec) { tenant.TrustedIssuers[0].Disabled = true },
		"client": func(tenant *settings.TenantSpec) { tenant.Clients[0].Disabled = true },
		"tenant": func(tenant *settings.TenantSpec) { tenant.Disabled = true },
	} {
		t.Run(name, func(t *testing.T) {
			testdb.Each(t, func(t *testing.T, url string) {
				d := testserver.NewExchanger(t, url)
				d.WantAccepted(t, testserver.TypeJWT, d.TokenWith(nil)) // this node has cached it as enabled
				tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
				tenant.SigningAlgorithm = "ES256"
				disable(&tenant)
				if _, err := d.Store.Apply(context.Background(), []settings.TenantSpec{tenant}, d.Keys, models.ApplyOptions{Replace: true}); err != nil {
					t.Fatal(err)
				}
				d.WantRejected(t, testserver.TypeJWT, d.TokenWith(nil))
			})
		})
	}
}

func TestExchangeAppliesTheClientsRule(t *testing.T) {
	d := testserver.NewExchanger(t, testdb.SQLite(t))
	bob := settings.UserSpec{Sub: "bob", Attributes: map[string]any{"plan": "pro", "level": 1, "email": "old@example.com"}}
	for rule, allowed := range map[string]bool{
		"true": true, "false": false,
		"token.amr.exists(m, m in ['hwk','otp'])": true, "token.amr.exists(m, m == 'sms')": false,
		"token.verified": false, "token.really": true, // a string "true", and true
		"token.missing == 1": false, "!(token.missing == 1)": false, "has(token.missing) && token.missing == 1": false,
		"token.?missing": false, "token.?really": true, "token.?missing.orValue(true)": true,
		"1 / 0 == 0": false, "token.nothing == null": true,
		"client.id == 'web' && client.public": true, "client.name == 'Web app'": true, "client.id == 'backend'": false,
		"user.sub == 'bob'": true, "user.plan == 'pro'": true, "user.level > 0.5": true, // stored
		"user.email == 'old@example.com'": true, // from the file, so no sign-in overwrites it
		"user.email == 'new@example.com'": false,
		"user.attempt == token.attempt":   true, // updated by the token
		"[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, [1,2,3,4,5,6,7,8,9].all(d, d > 0))))": false, // too much work
	} {
		t.Run(rule, func(t *testing.T) {
			d.Reconfigure(func(tenant *settings.TenantSpec) {
				tenant.Clients[0].Allow, tenant.Clients[0].Name, tenant.Users = rule, "Web app", []settings.UserSpec{bob}
				tenant.TrustedIssuers[0].UserAttributes = map[string]string{"email": "token.email", "attempt": "token.attempt"}
			})
			token := d.TokenWith(map[string]any{"sub": "bob", "attempt": rule, "amr": []string{"pwd", "otp"}, "email": "new@example.com", "verified": "true", "really": true, "nothing": nil})
			if allowed {
				d.WantAccepted(t, testserver.TypeJWT, token)
			} else {
				d.WantRejected(t, testserver.TypeJWT, token)
			}
		})
	}
}

func TestExchangeMapsClaimsToAttributes(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := testserver.NewExchanger(t, url, func(tenant *settings.TenantSpec) {
			tenant.TrustedIssuers[0].Subject = "token.?oid.orValue(token.sub)"
			tenant.TrustedIssuers[0].UserAttributes = map[string]string{"email": "token.email", "plan": "token.plan", "id": "token.id", "city": "token.address.city"}
			tenant.TrustedIssuers[0].SessionAttributes = map[string]string{"app": "token.app"}
			tenant.Clients[0].Claims = map[string]string{
				"email": "user.email", "plan": "has(user.plan) ? user.plan : 'free'", "uid": "user.id", "city": "user.city", "user": "user.sub",
				"app": "session.app", "first": "session.amr[0]",
			}
		})
		same := func(in map[string]any, want string) {
			t.Helper()
			got := map[string]any{}
			for _, name := range []string{"sub", "email", "plan", "uid", "app", "city", "user", "first"} {
				if in[name] != nil {
					got[name] = in[name]
				}
			}
			if text, _ := json.Marshal(got); string(text) != want {
				t.Errorf("claims are %s, want %s", text, want)
			}
		}
		first := d.WantAccepted(t, testserver.TypeJWT, d.TokenWith(map[string]any{"oid": "a-1", "email": "a@old", "app": "shop", "address": nil, "amr": []string{"pwd"}}))
		same(about(d, first), `{"app":"shop","email":"a@old","first":"pwd","plan":"free","sub":"a-1","user":"a-1"}`)
		second := d.WantAccepted(t, testserver.TypeJWT, d.TokenWith(map[string]any{"oid": "a-1", "plan": "pro", "id": int64(1 << 53), "address": map[string]any{"city": "Bern"}}))
		same(about(d, second), `{"city":"Bern","plan":"pro","sub":"a-1","uid":9007199254740992,"user":"a-1"}`)
		third := d.WantAccepted(t, testserver.TypeJWT, d.TokenWith(map[string]any{"oid": "a-1", "email": "a@new", "plan": nil}))
		same(about(d, third), `{"email":"a@new","plan":"free","sub":"a-1","user":"a-1"}`)
		// An older token keeps its claims; a refreshed one has the current values.
		same(about(d, first), `{"app":"shop","email":"a@old","first":"pwd","plan":"free","sub":"a-1","user":"a-1"}`)
		refreshed := d.Refresh("", "web", first.Text("refresh_token"))
		same(about(d, refreshed), `{"app":"shop","email":"a@new","first":"pwd","plan":"free","sub":"a-1","user":"a-1"}`)
		for name, over := range map[string]map[string]any{
			"a NUL":                      {"email": "a\x00b"},
			"a NUL deep inside":          {"email": []any{map[string]any{"a\x00": 1}}},
			"a subject that is a number": {"oid": 7},
		} {
			t.Run(name, func(t *testing.T) { d.WantRejected(t, testserver.TypeJWT, d.TokenWith(over)) })
		}
	})
}

func TestExchangeCopiesOnlyMappedClaims(t *testing.T) {
	d := testserver.NewExchanger(t, testdb.SQLite(t))
	over := map[string]any{}
	for _, name := range strings.Fields("scope sid cnf act may_act status roles groups acr email nonce active token_type username events") {
		over[name] = "of the subject token"
	}
	over["nbf"], over["azp"] = d.Clock.Now().Unix(), "web"
	a := d.WantAccepted(t, testserver.TypeJWT, d.TokenWith(over))
	for name, value := range testserver.TokenPart(t, a, 1) {
		if text, _ := json.Marshal(value); strings.Contains(string(text), "of the subject token") || name == "nbf" || name == "azp" {
			t.Errorf("%s is %s", name, text)
		}
	}
	d.Clock.Advance(2 * time.Minute) // the subject token has expired
	if in := about(d, a); in["scope"] != "profile orders:read" || in["sid"] != a.Text("session_id") || in["iss"] != d.URL {
		t.Errorf("introspected: %v", in)
	}
}

func TestExchangeAcceptsOnlyWhatAnIssuerMayAssert(t *testing.T) {
	d := testserver.NewExchanger(t, testdb.SQLite(t))
	now := d.Clock.Now().Unix()
	over := map[string]any{"amr": []string{"pwd"}, "acr": "phrh", "auth_time": now - 3600}
	for _, row := range []struct {
		name, most string
		asserts    *[]string
		want       string // amr, acr and age
	}{
		{"amr and auth_time, by default", "", nil, "[pwd] urn:latchkey:acr:1 3600"},
		{"acr, if it is listed", "", &[]string{"amr", "acr"}, "[pwd] phrh 0"},
		{"acr up to its maximum", "phr", &[]string{"amr", "acr", "auth_time"}, "[pwd] phr 3600"},
		{"nothing", "", &[]string{}, "<nil> <nil> 0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			d.Reconfigure(func(tenant *settings.TenantSpec) {
				tenant.TrustedIssuers[0].Asserts, tenant.TrustedIssuers[0].MaxACR = row.asserts, row.most
			})
			in := about(d, d.WantAccepted(t, testserver.TypeJWT, d.TokenWith(over)))
			authTime, _ := in["auth_time"].(float64)
			if got := fmt.Sprintf("%v %v %d", in["amr"], in["acr"], now-int64(authTime)); got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
		})
	}
}

func TestExchangeSeparatesTenantsAndNamespaces(t *testing.T) {
	d := testserver.NewExchanger(t, testdb.SQLite(t))
	corp, shop := testserver.NewIssuer(t, d.Clock), testserver.NewIssuer(t, d.Clock)
	entry := corp.Entry()
	entry.SubjectPrefix = "corp:"
	d.Reconfigure(testserver.Trusting(entry))
	d.Apply(testserver.Tenant("shop", shop, testserver.Web()))
	theirs := d.URL + "/t/shop"
	for name, token := range map[string]string{
		"a token of another tenant's issuer for this tenant": shop.Token(d.URL, "alice", nil),
		"a token of another tenant's issuer for it":          shop.Token(theirs, "alice", nil),
		"a token for another tenant":                         d.Issuer.Token(theirs, "alice", nil),
		"another tenant's issuer with this issuer's iss":     shop.Token(d.URL, "alice", map[string]any{"iss": d.Issuer.URL}),
		"this issuer with another iss":                       d.Issuer.Token(d.URL, "alice", map[string]any{"iss": corp.URL}),
		"a user of another issuer's namespace":               d.TokenWith(map[string]any{"sub": "corp:alice"}),
		"a client's id":                                      d.TokenWith(map[string]any{"sub": "web"}),
	} {
		t.Run("rejects "+name, func(t *testing.T) { d.WantRejected(t, testserver.TypeJWT, token) })
	}
	if in := about(d, d.WantAccepted(t, testserver.TypeJWT, corp.Token(d.URL, "alice", nil))); in["sub"] != "corp:alice" {
		t.Errorf("sub is %v", in["sub"])
	}
	if a := d.Exchange("/t/shop", "web", shop.Token(theirs, "alice", nil)); a.Status != http.StatusOK {
		t.Errorf("the other tenant returned status %d %s", a.Status, a.Body)
	}
}
