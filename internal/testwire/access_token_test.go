package testwire

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// claimsAsText returns the claims of a response's access token as JSON texts, and jti
// and sid apart.
func claimsAsText(t *testing.T, a *testserver.Answer) (claims map[string]string, jti, sid string) {
	t.Helper()
	claims = map[string]string{}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(a.Text("access_token")+"..", ".")[1])
	var raw map[string]json.RawMessage
	if err == nil {
		err = json.Unmarshal(payload, &raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range raw {
		claims[name] = string(value)
	}
	jti, sid = claims["jti"], claims["sid"]
	delete(claims, "jti")
	delete(claims, "sid")
	return claims, jti, sid
}

func TestAnAccessTokenContainsOnlyItsClaims(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web()))
		earlier := d.JSONTime(-3600)
		ofAcme := d.URL + "/t/acme"
		strong := map[string]any{"amr": []string{"pwd", "otp"}, "auth_time": json.Number(earlier)}
		expect := func(iss, sub, client string, more ...string) map[string]string {
			claims := map[string]string{
				"iss": `"` + iss + `"`, "sub": `"` + sub + `"`, "aud": `"` + client + `"`, "client_id": `"` + client + `"`,
				"iat": d.JSONTime(0), "exp": d.JSONTime(300), "scope": `"profile orders:read"`,
			}
			if client == "web" {
				claims["acr_times"] = "{}"
			}
			for i := 0; i < len(more); i += 2 {
				claims[more[i]] = more[i+1]
			}
			return claims
		}
		for name, c := range map[string]struct {
			answer  *testserver.Answer
			session bool
			want    map[string]string
		}{
			"a user": {d.SignIn("alice"), true, expect(d.URL, "alice", "web", "auth_time", d.JSONTime(0))},
			"a user with two factors": {d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", strong)), true,
				expect(d.URL, "alice", "web", "auth_time", earlier, "amr", `["pwd","otp"]`, "acr", `"urn:latchkey:acr:2"`,
					"acr_times", `{"urn:latchkey:acr:1":`+earlier+`,"urn:latchkey:acr:2":`+earlier+`}`)},
			"a user of another tenant": {d.Exchange("/t/acme", "web", d.Issuer.Token(ofAcme, "alice", nil)), true, expect(ofAcme, "alice", "web", "auth_time", d.JSONTime(0))},
			"a part of the scope":      {d.SignIn("alice", "scope", "profile"), true, expect(d.URL, "alice", "web", "auth_time", d.JSONTime(0), "scope", `"profile"`)},
			"one target":               {d.SignIn("alice", "resource", "https://api.example.com"), true, expect(d.URL, "alice", "web", "auth_time", d.JSONTime(0), "aud", `"https://api.example.com"`)},
			"two targets": {d.SignIn("alice", "resource", "https://files.example.com", "audience", "https://api.example.com"), true,
				expect(d.URL, "alice", "web", "auth_time", d.JSONTime(0), "aud", `["https://api.example.com","https://files.example.com"]`)},
			"its client among the targets": {d.SignIn("alice", "audience", "web", "resource", "https://api.example.com"), true,
				expect(d.URL, "alice", "web", "auth_time", d.JSONTime(0), "aud", `["https://api.example.com","web"]`)},
			"no user": {d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.AsBackend()), false, expect(d.URL, "backend", "backend")},
		} {
			t.Run(name, func(t *testing.T) {
				got, jti, sid := claimsAsText(t, c.answer)
				if !maps.Equal(got, c.want) {
					t.Errorf("claims %v\nwant   %v", got, c.want)
				}
				if !regexp.MustCompile(`^"[0-9a-f]{32}"$`).MatchString(jti) { // 128 bits
					t.Errorf("jti %s", jti)
				}
				if c.session != (sid != "") || c.session && sid != `"`+c.answer.Text("session_id")+`"` {
					t.Errorf("sid %s of %s", sid, c.answer.Body)
				}
			})
		}
		for path, iss := range map[string]string{"": d.URL, "/t/acme": ofAcme} {
			if got := d.Get(path + "/.well-known/oauth-authorization-server").Text("issuer"); got != iss {
				t.Errorf("the issuer in the metadata of %s is %s", iss, got)
			}
		}
	})
}

func TestEveryAccessTokenHasAUniqueJTI(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	first := d.SignIn("alice")
	answers := testserver.InParallel(40, func(i int) *testserver.Answer {
		switch i % 3 {
		case 0:
			return d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.AsBackend())
		case 1:
			return d.Refresh("", "web", first.Text("refresh_token")) // the same session, at the same moment
		default:
			return d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", nil))
		}
	})
	seen, digits := map[string]bool{}, [32]map[byte]bool{}
	for _, a := range append(answers, first) {
		jti, _ := testserver.Claims(t, d.Want(200, "", a))["jti"].(string)
		for i := range digits {
			if digits[i] == nil {
				digits[i] = map[byte]bool{}
			}
			digits[i][jti[i]] = true
		}
		seen[jti] = true
	}
	if len(seen) != 41 {
		t.Errorf("41 tokens have %d jti", len(seen))
	}
	for i := range digits {
		if len(digits[i]) == 1 {
			t.Errorf("digit %d is the same in all of them: it is not random", i)
		}
	}
}

func TestAnAccessTokenHasTheLifetimeOfItsClient(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*settings.ClientSpec)
		want   float64
	}{
		"five minutes by default": {func(*settings.ClientSpec) {}, 300},
		"half a minute":           {func(s *settings.ClientSpec) { s.AccessTokenTTL = testserver.Duration(30 * time.Second) }, 30},
		"a day":                   {func(s *settings.ClientSpec) { s.AccessTokenTTL = testserver.Duration(24 * time.Hour) }, 86400},
		"its preset's":            {func(s *settings.ClientSpec) { s.Preset = "consumer" }, 3600},
		"its own in place of its preset": {func(s *settings.ClientSpec) {
			s.Preset, s.AccessTokenTTL = "consumer", testserver.Duration(time.Minute)
		}, 60},
	} {
		t.Run(name, func(t *testing.T) {
			d := testserver.NewDeployment(t, testserver.OnSQLite(t))
			tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
			c.change(&tenant.Clients[0])
			c.change(&tenant.Clients[1])
			d.Apply(tenant)
			for _, ask := range []func() *testserver.Answer{
				func() *testserver.Answer { return d.SignIn("alice") },
				func() *testserver.Answer {
					return d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.AsBackend())
				},
			} {
				a := d.Want(200, "", ask())
				got := testserver.Claims(t, a)
				if got["exp"].(float64)-got["iat"].(float64) != c.want || a.JSON["expires_in"] != c.want {
					t.Errorf("%v: lifetime %v s, expires_in %v", got["sub"], got["exp"].(float64)-got["iat"].(float64), a.JSON["expires_in"])
				}
				token := a.Text("access_token")
				d.Clock.Advance(time.Duration(c.want)*time.Second - time.Second)
				early := d.Active(token)
				d.Clock.Advance(time.Second)
				if late := d.Active(token); !early || late {
					t.Errorf("%v: active at its last second: %t, then: %t", got["sub"], early, late)
				}
			}
		})
	}
}

func TestCustomClaimsTogetherAreAtMostFourKiB(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
		tenant.Clients[0].Claims = map[string]string{"a": "user.long", "b": "user.long", "c": "user.short", "groups": "['staff', 'admin']", "roles": "user.roles"}
		tenant.Users = []settings.UserSpec{{Sub: "alice", Attributes: map[string]any{"long": strings.Repeat("x", 2500), "short": "y", "roles": []any{"editor"}}}}
		d.Apply(tenant)
		a := d.SignIn("alice")
		for _, a := range []*testserver.Answer{a, d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))} {
			got := testserver.Claims(t, a)
			if len(got["a"].(string)) != 2500 || got["b"] != nil || got["c"] != "y" || fmt.Sprint(got["groups"], got["roles"]) != "[staff admin] [editor]" {
				t.Errorf("%v", got)
			}
			if !d.Active(a.Text("access_token")) {
				t.Error("inactive")
			}
		}
		events := d.EventTypes(a.Text("session_id"))
		if n := len(slices.DeleteFunc(events, func(e models.EventType) bool { return e != models.EventClaimLeftOut })); n != 2 {
			t.Errorf("%d events for a claim that was omitted from 2 tokens", n)
		}
	})
}

// All contents of the token have their maximum length. The server's own claims stay; of
// the custom claims, only those that fit.
func TestNoTokenIsLongerThanSixKiB(t *testing.T) {
	for _, algorithm := range []string{"RS256", "ES256"} {
		t.Run(algorithm, func(t *testing.T) {
			d := testserver.NewDeployment(t, testserver.OnSQLite(t))
			client := testserver.WebOnStatusList()
			client.ID = strings.Repeat("c", 64)
			client.Scopes = []string{strings.Repeat("<", 1024)}
			client.Audiences = nil
			for i := range 5 {
				client.Audiences = append(client.Audiences, "https://"+strings.Repeat("&", 246)+strconv.Itoa(i))
			}
			client.Claims = map[string]string{"a": "user.long", "b": "user.long", "tiny": "'yes'"}
			spec := testserver.Tenant(strings.Repeat("t", 63), d.Issuer, client, testserver.Backend())
			spec.SigningAlgorithm = algorithm
			sub := strings.Repeat(`"`, 255)
			spec.Users = []settings.UserSpec{{Sub: sub, Attributes: map[string]any{"long": strings.Repeat("x", 2000)}}}
			d.Apply(spec)
			base := "/t/" + spec.ID
			extra := []string{}
			for _, audience := range client.Audiences {
				extra = append(extra, "resource", audience)
			}
			amr := []string{strings.Repeat("m", 64), strings.Repeat("n", 64), strings.Repeat("o", 64), strings.Repeat("p", 64), strings.Repeat("q", 64), strings.Repeat("r", 64), strings.Repeat("s", 64), strings.Repeat("t", 48)}
			a := d.Want(200, "", d.Exchange(base, client.ID, d.Issuer.Token(d.URL+base, sub, map[string]any{"amr": amr}), extra...))
			token := a.Text("access_token")
			if len(token) > 6<<10 || len(token) < 5<<10 {
				t.Errorf("the token has %d bytes", len(token))
			}
			got := testserver.Claims(t, a)
			if got["sub"] != sub || got["scope"] != client.Scopes[0] || len(got["aud"].([]any)) != 5 || len(got["amr"].([]any)) != 8 || got["tiny"] != "yes" || got["a"] != nil || got["b"] != nil {
				t.Errorf("it holds %v", got)
			}
			d.Want(400, "invalid_request", d.Exchange(base, client.ID, d.Issuer.Token(d.URL+base, sub, map[string]any{"amr": append(amr, "more")})))
			few := d.Want(200, "", d.Exchange(base, client.ID, d.Issuer.Token(d.URL+base, "alice", nil)))
			if few := testserver.Claims(t, few); few["tiny"] != "yes" {
				t.Errorf("%v", few)
			}
		})
	}
}

func TestIntrospectionOfATokenWithoutScope(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	plain := testserver.Web()
	plain.Scopes = nil
	d.Apply(testserver.Tenant("default", d.Issuer, plain, testserver.Backend()))
	a := d.SignIn("alice")
	if in := d.Want(200, "", d.Introspect("", a.Text("access_token"))); in.JSON["active"] != true || in.JSON["scope"] != "" {
		t.Errorf("%s", in.Body)
	}
	if scope, said := a.JSON["scope"]; !said || scope != "" || testserver.Claims(t, a)["scope"] != nil {
		t.Errorf("%s", a.Body)
	}
}
