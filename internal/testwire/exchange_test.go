package testwire

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

const ofAccessToken = "urn:ietf:params:oauth:token-type:access_token"

func TestExchangeIsForClientsThatHaveTheGrant(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		machine := testserver.Backend()
		machine.Grants, machine.SessionToken = []string{settings.GrantClientCredentials}, false
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), machine))
		token := d.Issuer.Token(d.URL, "alice", nil)
		a := d.Want(400, "unauthorized_client", d.Post("/token", []string{"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeJWT, "subject_token", token},
			testserver.Basic("backend", testserver.ClientSecret)))
		if len(a.JSON) != 3 || a.Text("latchkey_reason") != "grant_not_allowed" {
			t.Errorf("%s", a.Body)
		}
		d.Want(200, "", d.Exchange("", "web", token)) // not spent
	})
}

func TestExchangeGrantsTheRequestedScopeAndTarget(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		client := testserver.Web()
		client.Scopes, client.DefaultScopes = append(client.Scopes, "orders:write"), &[]string{"profile", "orders:read"}
		d.Apply(testserver.Tenant("default", d.Issuer, client, testserver.Backend()))
		const api, files = "https://api.example.com", "https://files.example.com"
		for name, c := range map[string]struct {
			form             []string
			aud, scope, kind string
		}{
			"nothing":                               {nil, `"web"`, "", ""},
			"a resource":                            {[]string{"resource", api}, `"https://api.example.com"`, "", ""},
			"two resources":                         {[]string{"resource", files, "resource", api}, `["https://api.example.com","https://files.example.com"]`, "", ""},
			"an audience":                           {[]string{"audience", api}, `"https://api.example.com"`, "", ""},
			"two audiences, one of them the server": {[]string{"audience", "web", "audience", api}, `["https://api.example.com","web"]`, "", ""},
			"a resource and an audience":            {[]string{"resource", api, "audience", files}, `["https://api.example.com","https://files.example.com"]`, "", ""},
			"one target twice":                      {[]string{"resource", api, "audience", api}, `"https://api.example.com"`, "", ""},
			"a scope":                               {[]string{"scope", "profile"}, `"web"`, "profile", ""},
			"a scope that is not a default":         {[]string{"scope", "orders:write"}, `"web"`, "orders:write", ""},
			"a scope at each of two targets":        {[]string{"resource", api, "resource", files, "scope", "orders:read"}, `["https://api.example.com","https://files.example.com"]`, "orders:read", ""},
			"an access token":                       {[]string{"requested_token_type", ofAccessToken}, `"web"`, "", ofAccessToken},
			"a JWT":                                 {[]string{"requested_token_type", testserver.TypeJWT}, `"web"`, "", testserver.TypeJWT},
		} {
			t.Run(name, func(t *testing.T) {
				if c.scope == "" {
					c.scope = "profile orders:read"
				}
				if c.kind == "" {
					c.kind = ofAccessToken
				}
				a := d.SignIn("alice", c.form...)
				if a.Text("scope") != c.scope || a.Text("issued_token_type") != c.kind || a.Text("token_type") != "Bearer" || a.Text("refresh_token") == "" {
					t.Errorf("%s", a.Body)
				}
				got, seen := testserver.Claims(t, a), d.Introspect("", a.Text("access_token")).JSON
				for where, of := range map[string]map[string]any{"the token": got, "introspection": seen} {
					if aud, _ := json.Marshal(of["aud"]); string(aud) != c.aud || of["scope"] != c.scope {
						t.Errorf("%s is for %s with %v", where, aud, of["scope"])
					}
				}
			})
		}
	})
}

func TestExchangeOutlivesItsSubjectToken(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		now := d.Clock.Now().Unix()
		token := d.Issuer.Token(d.URL, "alice", map[string]any{"iat": now - 200, "exp": now + 1})
		a := d.Want(200, "", d.Exchange("", "web", token))
		if a.JSON["expires_in"] != 300.0 || a.JSON["session_expires_at"] != float64(now+30*24*60*60) {
			t.Errorf("%s", a.Body)
		}
		if got := testserver.Claims(t, a); got["auth_time"] != float64(now-200) || got["exp"] != float64(now+300) { // iat, because the token has no auth_time
			t.Errorf("authenticated at %v, valid until %v", got["auth_time"], got["exp"])
		}
		d.Clock.Advance(2 * time.Minute)
		if !d.Active(a.Text("access_token")) {
			t.Error("inactive after the subject token has expired")
		}
		d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
	})
}

func TestExchangeIssuesOnlyTheServersClaims(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		now := d.Clock.Now().Unix()
		over := map[string]any{"jti": "of-the-subject-token", "iat": now - 10, "exp": now + 20, "nbf": now - 10, "client_id": "web"}
		for _, name := range strings.Fields("scope sid cnf act may_act acr status x roles") {
			over[name] = map[string]any{"sub": "mallory"}
		}
		got := testserver.Claims(t, d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", over))))
		names := slices.Sorted(maps.Keys(got))
		if want := strings.Fields("acr_times aud auth_time client_id exp iat iss jti scope sid sub"); !slices.Equal(names, want) {
			t.Errorf("claims %v, want %v", names, want)
		}
		if len(got["acr_times"].(map[string]any)) != 0 || got["iss"] != d.URL || got["sub"] != "alice" || got["jti"] == "of-the-subject-token" || got["iat"] != float64(now) || got["exp"] != float64(now+300) || got["scope"] != "profile orders:read" {
			t.Errorf("%v", got)
		}
	})
}
