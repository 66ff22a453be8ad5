package testwire

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

func TestIntrospectRejects(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	token := "token=" + d.SignIn("alice").Text("access_token")
	known := testserver.AsBackend()
	for _, c := range []endpointCase{
		{name: "no token", body: "token_type_hint=access_token", opts: []testserver.Option{known}, status: 400, code: "invalid_request"},
		{name: "an empty token", body: "token=", opts: []testserver.Option{known}, status: 400, code: "invalid_request"},
		{name: "two tokens", body: token + "&token=x", opts: []testserver.Option{known}, status: 400, code: "invalid_request"},
		{name: "a token in the URL", path: "/introspect?" + token, body: token, opts: []testserver.Option{known}, status: 400, code: "invalid_request"},
		{name: "a token over 16 KiB", body: token + strings.Repeat("x", 16<<10), opts: []testserver.Option{known}, status: 400, code: "invalid_request"},
		{name: "JSON", body: `{"token":"x"}`, opts: []testserver.Option{known, testserver.ContentType("application/json")}, status: 400, code: "invalid_request"},
		{name: "a form that says it is JSON", body: token, opts: []testserver.Option{known, testserver.ContentType("application/json")}, status: 400, code: "invalid_request"},
		{name: "no content type", body: token, opts: []testserver.Option{known, testserver.ContentType("")}, status: 400, code: "invalid_request"},
		{name: "an unknown client", body: token + "&client_id=nobody", status: 401, code: "invalid_client"},
		{name: "a secret client without its secret", body: token + "&client_id=backend", status: 401, code: "invalid_client"},
		{name: "a public client with a secret", body: token + "&client_id=web&client_secret=x", status: 401, code: "invalid_client"},
		{name: "nobody, about what is no token", body: "token=x", status: 401, code: "invalid_client"},
		{name: "Basic and a secret in the body", body: token + "&client_secret=x", opts: []testserver.Option{known}, status: 400, code: "invalid_request"},
	} {
		if c.path == "" {
			c.path = "/introspect"
		}
		t.Run(c.name, func(t *testing.T) { rejects(d, t, c) })
	}
	d.Want(200, "", d.Post("/introspect", []string{"client_id", "backend", "client_secret", testserver.ClientSecret, "token", "x"}))
}

func TestInactiveResponsesHaveNoOtherMember(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		stranger := testserver.Backend()
		stranger.ID, stranger.Secret, stranger.Introspect = "stranger", "a-secret-of-a-stranger-of-40-characters!", ""
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(), stranger))
		d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web()))

		idle := d.SignInAtBackend("alice")
		d.Clock.Advance(5*24*time.Hour - 5*time.Minute)
		expired := d.SignIn("alice").Text("access_token")
		d.Clock.Advance(5 * time.Minute)
		live, revoked, used := d.SignInAtBackend("alice"), d.SignInAtBackend("alice"), d.SignInAtBackend("alice")
		d.Want(200, "", d.Post("/revoke", []string{"token", revoked.Text("session_token")}, testserver.AsBackend()))
		d.Want(200, "", d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", used.Text("refresh_token")}, testserver.AsBackend()))
		machine, dead := d.MachineToken(), d.MachineToken()
		d.Want(200, "", d.Post("/revoke", []string{"token", dead}, testserver.AsBackend()))
		elsewhere := d.Want(200, "", d.Exchange("/t/acme", "web", d.Issuer.Token(d.URL+"/t/acme", "alice", nil)))
		web := d.SignIn("alice")

		asStranger := testserver.Basic(stranger.ID, stranger.Secret)
		for name, c := range map[string]struct {
			token  string
			caller testserver.Option
		}{
			"a word":                                     {"x", testserver.AsBackend()},
			"an invented refresh token":                  {"lk_rt_" + strings.Repeat("A", 96), testserver.AsBackend()},
			"a client token":                             {d.Issuer.Token(d.URL, "alice", nil), testserver.AsBackend()},
			"an expired access token":                    {expired, testserver.AsBackend()},
			"a refresh token not used for too long":      {idle.Text("refresh_token"), testserver.AsBackend()},
			"a session token not used for too long":      {idle.Text("session_token"), testserver.AsBackend()},
			"a revoked session's access token":           {revoked.Text("access_token"), testserver.AsBackend()},
			"a revoked session's refresh token":          {revoked.Text("refresh_token"), testserver.AsBackend()},
			"a revoked session token":                    {revoked.Text("session_token"), testserver.AsBackend()},
			"a revoked token without a session":          {dead, testserver.AsBackend()},
			"a used refresh token":                       {used.Text("refresh_token"), testserver.AsBackend()},
			"another tenant's access token":              {elsewhere.Text("access_token"), testserver.AsBackend()},
			"another tenant's refresh token":             {elsewhere.Text("refresh_token"), testserver.AsBackend()},
			"another client's refresh token":             {web.Text("refresh_token"), testserver.AsBackend()},
			"an access token for another audience":       {live.Text("access_token"), asStranger},
			"another client's token without a session":   {machine, asStranger},
			"another client's session token":             {live.Text("session_token"), asStranger},
			"another client's refresh token, a stranger": {live.Text("refresh_token"), asStranger},
		} {
			a := d.Want(200, "", d.Post("/introspect", []string{"token", c.token}, c.caller))
			if string(a.Body) != `{"active":false}` || a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %s %v", name, a.Body, a.Header)
			}
			signed := d.Want(200, "", d.Post("/introspect", []string{"token", c.token}, c.caller, testserver.Accept(testserver.IntrospectionJWT)))
			if text, _ := json.Marshal(testserver.JWTPart(t, string(signed.Body), 1)["token_introspection"]); string(text) != `{"active":false}` {
				t.Errorf("%s, signed: %s", name, text)
			}
		}
		for name, token := range map[string]string{"access": live.Text("access_token"), "refresh": live.Text("refresh_token"), "session": live.Text("session_token"), "machine": machine, "web": web.Text("access_token")} {
			if !d.Active(token) {
				t.Errorf("%s token: inactive for its own client", name)
			}
		}
	})
}

func TestIntrospectIgnoresAHint(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignInAtBackend("alice")
		for _, hint := range []string{"access_token", "refresh_token", "made-up"} {
			for _, kind := range []string{"access_token", "refresh_token", "session_token"} {
				plain := d.Introspect("", a.Text(kind))
				hinted := d.Want(200, "", d.Post("/introspect", []string{"token", a.Text(kind), "token_type_hint", hint}, testserver.AsBackend()))
				if hinted.JSON["active"] != true || string(hinted.Body) != string(plain.Body) {
					t.Errorf("%s with the hint %s: %s, without %s", kind, hint, hinted.Body, plain.Body)
				}
			}
		}
	})
}

func TestMembersOfAnIntrospectionHaveTheirTypes(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
		tenant.Clients[1].Claims = map[string]string{"email": "user.email"}
		tenant.TrustedIssuers[0].UserAttributes = map[string]string{"email": "token.email"}
		d.Apply(tenant)
		token := d.Issuer.Token(d.URL, "alice", map[string]any{"amr": []string{"pwd", "otp"}, "email": "alice@example.com"})
		a := d.Want(200, "", d.Post("/token", []string{"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeJWT, "subject_token", token}, testserver.AsBackend()))
		const ofUser = "acr acr_times amr aud auth_time client_id exp iat iss jti scope sid sub token_type"
		for name, c := range map[string]struct{ token, members string }{
			"an access token":           {a.Text("access_token"), ofUser + " email"},
			"a refresh token":           {a.Text("refresh_token"), ofUser},
			"a session token":           {a.Text("session_token"), ofUser},
			"a token without a session": {d.MachineToken(), "aud client_id exp iat iss jti scope sub token_type"},
		} {
			in := d.Want(200, "", d.Introspect("", c.token))
			var raw map[string]json.RawMessage
			if err := json.Unmarshal(in.Body, &raw); err != nil {
				t.Fatal(err)
			}
			want := append(strings.Fields(c.members), "active")
			var got []string
			for member, value := range raw {
				got = append(got, member)
				text, integer := string(value), json.Number(value)
				_, err := integer.Int64()
				switch isString := strings.HasPrefix(text, `"`) && text != `""`; member {
				case "active":
					if text != "true" {
						t.Errorf("%s: active is %s", name, text)
					}
				case "exp", "iat", "auth_time":
					if err != nil {
						t.Errorf("%s: %s is %s", name, member, text)
					}
				case "acr_times":
					var at map[string]int64
					if err := json.Unmarshal(value, &at); err != nil || len(at) == 0 {
						t.Errorf("%s: acr_times is %s", name, text)
					}
				case "amr":
					if text != `["otp","pwd"]` && text != `["pwd","otp"]` {
						t.Errorf("%s: amr is %s", name, text)
					}
				default:
					if !isString {
						t.Errorf("%s: %s is %s", name, member, text)
					}
				}
			}
			slices.Sort(got)
			if slices.Sort(want); !slices.Equal(got, want) {
				t.Errorf("%s: members %v, want %v", name, got, want)
			}
			if in.Header.Get("Cache-Control") != "no-store" || in.Header.Get("Pragma") != "no-cache" {
				t.Errorf("%s: %v", name, in.Header)
			}
		}
	})
}

func TestATokenWithoutASessionIsInactiveWhileItsClientIsDisabled(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		api := testserver.APIClient()
		api.Grants = []string{settings.GrantClientCredentials}
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(), api))
		token := d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("api", api.Secret))).Text("access_token")
		if !d.Active(token) {
			t.Fatal("inactive before")
		}
		api.Disabled = true
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(), api))
		if d.Active(token) {
			t.Error("active")
		}
		d.Want(401, "invalid_client", d.Post("/introspect", []string{"token", token}, testserver.Basic("api", api.Secret)))
	})
}
