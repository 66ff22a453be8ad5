package testattack

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

func TestIntrospectionRevealsNothingAboutInactiveTokens(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		mobile := testserver.Web()
		mobile.ID = "mobile"
		tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(), testserver.APIClient(), mobile)
		d.Apply(tenant, testserver.Tenant("acme", d.Issuer, testserver.Web(), testserver.Backend()))
		asBackend, asAPI := testserver.Basic("backend", testserver.ClientSecret), testserver.Basic("api", testserver.APIClient().Secret)
		machine := d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, asBackend))
		ours := d.Want(200, "", d.Post("/token", d.BackendExchangeForm("alice"), asBackend))
		expired, signedOut, disabled, live := d.SignIn("alice"), d.SignIn("alice"), d.SignIn("bob"), d.SignIn("carol")
		removed := d.Want(200, "", d.Exchange("", "mobile", d.Issuer.Token(d.URL, "alice", nil)))
		elsewhere := d.Want(200, "", d.Exchange("/t/acme", "web", d.Issuer.Token(d.URL+"/t/acme", "alice", nil)))
		d.Clock.Advance(5 * time.Minute)
		for _, renewed := range []struct {
			base, client string
			a            **testserver.Answer
		}{{"", "web", &live}, {"", "web", &signedOut}, {"", "web", &disabled}, {"", "mobile", &removed}, {"/t/acme", "web", &elsewhere}} {
			*renewed.a = d.Want(200, "", d.Refresh(renewed.base, renewed.client, (*renewed.a).Text("refresh_token")))
		}
		d.Want(200, "", d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", ours.Text("refresh_token")}, asBackend))
		fresh := d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, asBackend))
		d.Want(200, "", d.Post("/revoke", []string{"token", fresh.Text("access_token")}, asBackend))
		d.Want(200, "", d.Post("/revoke", []string{"client_id", "web", "token", signedOut.Text("refresh_token")}))
		tenant.Clients[3].Disabled, tenant.Users = true, []settings.UserSpec{{Sub: "bob", Disabled: true}}
		d.Apply(tenant)

		before, want := d.Written(), ""
		for name, c := range map[string]struct {
			token string
			as    testserver.Option
		}{
			"garbage":                             {"garbage", asBackend},
			"a megabyte's beginning":              {strings.Repeat("A", 10_000), asBackend},
			"one that has expired":                {expired.Text("access_token"), asBackend},
			"one without a session that expired":  {machine.Text("access_token"), asBackend},
			"one without a session, revoked":      {fresh.Text("access_token"), asBackend},
			"one that was signed out":             {signedOut.Text("access_token"), asBackend},
			"a disabled user's":                   {disabled.Text("access_token"), asBackend},
			"a disabled client's":                 {removed.Text("access_token"), asBackend},
			"another tenant's":                    {elsewhere.Text("access_token"), asBackend},
			"one for another audience":            {live.Text("access_token"), asAPI},
			"one for another audience, signed":    {signedOut.Text("access_token"), asAPI},
			"a used refresh token":                {ours.Text("refresh_token"), asBackend},
			"another client's refresh token":      {live.Text("refresh_token"), asBackend},
			"another client's session token":      {ours.Text("session_token"), asAPI},
			"another tenant's refresh token":      {elsewhere.Text("refresh_token"), asBackend},
			"a client token":                      {d.Issuer.Token(d.URL, "alice", nil), asBackend},
			"a refresh token that was signed out": {signedOut.Text("refresh_token"), asBackend},
		} {
			plain := d.Want(200, "", d.Post("/introspect", []string{"token", c.token}, c.as))
			if want == "" {
				want = withoutVariableParts(plain)
			}
			if string(plain.Body) != `{"active":false}` || withoutVariableParts(plain) != want {
				t.Errorf("%s: %s, otherwise %s", name, withoutVariableParts(plain), want)
			}
			signed := d.Want(200, "", d.Post("/introspect", []string{"token", c.token}, c.as, testserver.Accept(testserver.IntrospectionJWT)))
			payload, err := base64.RawURLEncoding.DecodeString(strings.Split(string(signed.Body), ".")[1])
			if err != nil {
				t.Fatal(err)
			}
			if top := testserver.JWTPart(t, string(signed.Body), 1); !strings.Contains(string(payload), `"token_introspection":{"active":false}`) || len(top) != 4 {
				t.Errorf("%s, signed: %s", name, payload)
			}
		}
		d.WantUnchanged(t, before)
		if !d.Active(live.Text("access_token")) {
			t.Error("nothing is active")
		}
	})
}

func TestIntrospectionWithoutAuthenticationIsNoOracle(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		acme := testserver.Backend()
		acme.Secret = "the-secret-of-the-same-client-of-another-tenant"
		d.Apply(testserver.Tenant("acme", d.Issuer, acme))
		web, back := testserver.Web(), testserver.Backend()
		web.AccessTokenTTL, back.AccessTokenTTL = testserver.Duration(time.Hour), testserver.Duration(time.Hour)
		d.Apply(testserver.Tenant("default", d.Issuer, web, back))
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		ours := d.Want(200, "", d.Post("/token", d.BackendExchangeForm("alice"), asBackend))
		live, over := d.SignIn("alice"), d.SignIn("alice")
		d.Want(200, "", d.Post("/revoke", []string{"client_id", "web", "token", over.Text("refresh_token")}))
		bearer := testserver.Authorization("Bearer " + live.Text("access_token"))
		before := d.Written()
		for form, status := range map[string]int{"": 401, testserver.IntrospectionJWT: 400} {
			want := ""
			for asking, c := range map[string]struct {
				with []string
				opts []testserver.Option
			}{
				"nobody":                       {},
				"a public client":              {[]string{"client_id", "web"}, nil},
				"a client without its secret":  {[]string{"client_id", "backend"}, nil},
				"a wrong secret":               {nil, []testserver.Option{testserver.Basic("backend", "wrong")}},
				"an empty secret":              {nil, []testserver.Option{testserver.Basic("backend", "")}},
				"a wrong secret in the body":   {[]string{"client_id", "backend", "client_secret", "wrong"}, nil},
				"an unknown client":            {nil, []testserver.Option{testserver.Basic("nobody", testserver.ClientSecret)}},
				"another tenant's secret":      {nil, []testserver.Option{testserver.Basic("backend", acme.Secret)}},
				"the user's own access token":  {nil, []testserver.Option{bearer}},
				"a token as the old parameter": {[]string{"access_token", live.Text("access_token")}, nil},
				"a token without a session":    {nil, []testserver.Option{testserver.Authorization("Bearer " + ours.Text("access_token"))}},
				"a refresh token":              {nil, []testserver.Option{testserver.Authorization("Bearer " + live.Text("refresh_token"))}},
				"an arbitrary assertion":       {[]string{"client_assertion", "x", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, nil},
			} {
				for kind, token := range map[string]string{
					"live": live.Text("access_token"), "over": over.Text("access_token"), "refresh": live.Text("refresh_token"),
					"session": ours.Text("session_token"), "its own": ours.Text("access_token"), "made-up": "made-up", "none": "",
				} {
					d.Clock.Advance(6 * time.Second) // slowly enough to avoid throttling
					a := d.Post("/introspect", append([]string{"token", token}, c.with...), append([]testserver.Option{testserver.Accept(form)}, c.opts...)...)
					if want == "" {
						want = withoutVariableParts(a)
					}
					if a.Status != status || a.Error() != "invalid_client" || withoutVariableParts(a) != want {
						t.Errorf("%s about a token that is %s: %s, otherwise %s", asking, kind, withoutVariableParts(a), want)
					}
				}
			}
		}
		d.WantUnchanged(t, before)
	})
}

// TestIntrospectionAndRevocationRejectForgedAccessTokens uses no signature of the
// server's key, so anybody could make these tokens.
func TestIntrospectionAndRevocationRejectForgedAccessTokens(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		var fetched []string
		lure := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { fetched = append(fetched, r.URL.Path) }))
		t.Cleanup(lure.Close)
		tenant := testserver.Tenant("acme", d.Issuer, testserver.Web(), testserver.Backend())
		tenant.SigningAlgorithm = "RS256"
		d.Apply(tenant)
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		a := d.Want(200, "", d.Exchange("/t/acme", "web", d.Issuer.Token(d.URL+"/t/acme", "alice", nil)))
		neighbour := d.SignIn("alice")
		good := a.Text("access_token")
		parts := strings.Split(good, ".")
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(d.Get("/t/acme/.well-known/jwks.json").Body, &set); err != nil {
			t.Fatal(err)
		}
		public, kid := set.Keys[0].Key.(*rsa.PublicKey), set.Keys[0].KeyID
		attacker := testserver.NewES256Key(t)
		jwk, err := json.Marshal(jose.JSONWebKey{Key: attacker.Public(), KeyID: kid, Algorithm: "ES256"})
		if err != nil {
			t.Fatal(err)
		}
		header := func(members string) string { return `{"kid":"` + kid + `","typ":"at+jwt",` + members + `}` }
		by := func(key *ecdsa.PrivateKey, header string) string {
			return testserver.Forge(header, string(payload), testserver.ES256(key))
		}
		last := len(good) - 1
		tokens := map[string]string{
			"alg none without a signature":      testserver.Base64(header(`"alg":"none"`)) + "." + parts[1] + ".",
			"alg none with the server's key":    testserver.Base64(header(`"alg":"none"`)) + "." + parts[1] + "." + parts[2],
			"alg None":                          testserver.Base64(header(`"alg":"None"`)) + "." + parts[1] + ".",
			"alg nOnE":                          testserver.Base64(header(`"alg":"nOnE"`)) + "." + parts[1] + "." + parts[2],
			"an empty alg":                      testserver.Base64(header(`"alg":""`)) + "." + parts[1] + "." + parts[2],
			"no alg":                            testserver.Base64(`{"kid":"`+kid+`","typ":"at+jwt"}`) + "." + parts[1] + "." + parts[2],
			"no signature":                      parts[0] + "." + parts[1] + ".",
			"two parts":                         parts[0] + "." + parts[1],
			"another key with the server's kid": by(attacker, header(`"alg":"ES256"`)),
			"another key in no name":            by(attacker, `{"alg":"ES256","typ":"at+jwt"}`),
			"jwk":                               by(attacker, header(`"alg":"ES256","jwk":`+string(jwk))),
			"jwk and no kid":                    by(attacker, `{"alg":"ES256","typ":"at+jwt","jwk":`+string(jwk)+`}`),
			"jku":                               by(attacker, header(`"alg":"ES256","jku":"`+lure.URL+`/jku"`)),
			"x5u":                               by(attacker, header(`"alg":"ES256","x5u":"`+lure.URL+`/x5u"`)),
			"x5c":                               by(attacker, header(`"alg":"ES256","x5c":["AAAA"]`)),
			"a kid like a path":                 by(attacker, `{"alg":"ES256","typ":"at+jwt","kid":"../../x"}`),
			"a kid like SQL":                    by(attacker, `{"alg":"ES256","typ":"at+jwt","kid":"' OR 1=1"}`),
			"a kid of 10 kB":                    by(attacker, `{"alg":"ES256","typ":"at+jwt","kid":"`+strings.Repeat("k", 10_000)+`"}`),
			"a kid that is a list":              by(attacker, `{"alg":"ES256","typ":"at+jwt","kid":["`+kid+`"]}`),
			"another payload":                   parts[0] + "." + testserver.Base64(strings.Replace(string(payload), "alice", "admin", 1)) + "." + parts[2],
			"another tenant's signature":        parts[0] + "." + parts[1] + "." + strings.Split(neighbour.Text("access_token"), ".")[2],
			"another tenant's token":            neighbour.Text("access_token"),
			"a client token of the issuer":      d.Issuer.Token(d.URL+"/t/acme", "alice", map[string]any{"client_id": "web", "sid": a.Text("session_id")}),
			"PBES2 with a huge iteration count": testserver.Base64(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483647,"p2s":"AAAA"}`) + ".a.b.c.d",
			"a JWE that would unzip":            testserver.Base64(`{"alg":"dir","enc":"A128GCM","zip":"DEF","kid":"`+kid+`"}`) + "..b.c.d",
			"the JSON serialization":            `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
			"two signatures in JSON": `{"payload":"` + parts[1] + `","signatures":[{"protected":"` + parts[0] + `","signature":"` + parts[2] + `"},{"protected":"` +
				testserver.Base64(header(`"alg":"none"`)) + `","signature":""}]}`,
			"a token inside a token":   testserver.Base64(header(`"alg":"RS256","cty":"JWT"`)) + "." + testserver.Base64(good) + "." + parts[2],
			"b64":                      testserver.Base64(header(`"alg":"RS256","b64":false,"crit":["b64"]`)) + "." + parts[1] + "." + parts[2],
			"16 KiB of dots":           strings.Repeat(".", 16<<10),
			"padding":                  good + "==",
			"a newline":                good[:50] + "\n" + good[50:],
			"a tab after":              good + "\t",
			"unused bits that are set": good[:last] + string(good[last]+1), // in 256 bytes, the last of 342 characters has 2 significant bits
		}
		for name, secret := range keyEncodings(t, public, kid) {
			for _, alg := range []string{"HS256", "HS384", "HS512"} {
				tokens["a MAC by "+alg+" with our public key as "+name] = testserver.Forge(header(`"alg":"`+alg+`"`), string(payload), testserver.HS256(secret))
			}
		}
		before := d.Written()
		for name, token := range tokens {
			if in := d.Introspect("/t/acme", token); in.Status != 200 || string(in.Body) != `{"active":false}` {
				t.Errorf("%s: %d %s", name, in.Status, in.Body)
			}
			for _, as := range []testserver.Option{asBackend, nil} {
				form := []string{"token", token}
				if as == nil {
					form, as = append(form, "client_id", "web"), testserver.Header("Accept", "*/*")
				}
				if r := d.Post("/t/acme/revoke", form, as); r.Status != 200 {
					t.Errorf("revocation of %s: %d %s", name, r.Status, r.Body)
				}
			}
		}
		d.WantUnchanged(t, before)
		if len(fetched) > 0 {
			t.Errorf("%v was fetched", fetched)
		}
		if in := d.Introspect("/t/acme", good); in.JSON["active"] != true {
			t.Errorf("what they were made from: %s", in.Body)
		}
	})
}
