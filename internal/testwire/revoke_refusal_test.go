package testwire

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

func TestRevokeRejects(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	a, machine := d.SignIn("alice"), d.MachineToken()
	token := "client_id=web&token=" + a.Text("refresh_token")
	ofBackend := "token=" + machine
	for _, c := range []endpointCase{
		{name: "no token", body: "client_id=web", status: 400, code: "invalid_request"},
		{name: "an empty token", body: "client_id=web&token=&token_type_hint=refresh_token", status: 400, code: "invalid_request"},
		{name: "two tokens", body: token + "&token=" + a.Text("access_token"), status: 400, code: "invalid_request"},
		{name: "two hints", body: token + "&token_type_hint=access_token&token_type_hint=refresh_token", status: 400, code: "invalid_request"},
		{name: "a token in the URL", path: "/revoke?token=" + a.Text("refresh_token"), body: token, status: 400, code: "invalid_request"},
		{name: "a token over 16 KiB", body: token + strings.Repeat("x", 16<<10), status: 400, code: "invalid_request"},
		{name: "JSON", body: `{"client_id":"web","token":"` + a.Text("refresh_token") + `"}`, opts: []testserver.Option{testserver.ContentType("application/json")}, status: 400, code: "invalid_request"},
		{name: "a form that says it is JSON", body: token, opts: []testserver.Option{testserver.ContentType("application/json")}, status: 400, code: "invalid_request"},
		{name: "no content type", body: token, opts: []testserver.Option{testserver.ContentType("")}, status: 400, code: "invalid_request"},
		{name: "nobody", body: "token=" + a.Text("refresh_token"), status: 401, code: "invalid_client"},
		{name: "an unknown client", body: "client_id=nobody&token=" + a.Text("refresh_token"), status: 401, code: "invalid_client"},
		{name: "a public client with a secret", body: token + "&client_secret=x", status: 401, code: "invalid_client"},
		{name: "a secret client without its secret", body: ofBackend + "&client_id=backend", status: 401, code: "invalid_client"},
		{name: "a wrong secret", body: ofBackend, opts: []testserver.Option{testserver.BasicText("backend:wrong")}, status: 401, code: "invalid_client"},
		{name: "the token as credentials", body: ofBackend, opts: []testserver.Option{testserver.Authorization("Bearer " + machine)}, status: 401, code: "invalid_client"},
		{name: "Basic and a secret in the body", body: ofBackend + "&client_secret=x", opts: []testserver.Option{testserver.AsBackend()}, status: 400, code: "invalid_request"},
	} {
		if c.path == "" {
			c.path = "/revoke"
		}
		t.Run(c.name, func(t *testing.T) { rejects(d, t, c) })
	}
	if !d.Active(a.Text("access_token")) || !d.Active(machine) {
		t.Error("a refused revocation ended something")
	}
}

func TestRevokeOfAnInactiveTokenSucceeds(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web(), testserver.Backend()))
		expired := d.SignIn("alice").Text("access_token")
		d.Clock.Advance(5 * time.Minute)
		bystander, revoked := d.SignIn("alice"), d.SignIn("alice")
		d.Want(200, "", d.Post("/revoke", []string{"client_id", "web", "token", revoked.Text("refresh_token")}))
		elsewhere := d.Want(200, "", d.Exchange("/t/acme", "web", d.Issuer.Token(d.URL+"/t/acme", "alice", nil)))
		good := bystander.Text("access_token")
		parts := strings.Split(good, ".")
		for name, token := range map[string]string{
			"a word":                                "made-up",
			"only a prefix":                         "lk_",
			"an invented refresh token":             "lk_rt_" + strings.Repeat("A", 96),
			"a token of an unknown kind":            "lk_xx_" + strings.TrimPrefix(bystander.Text("refresh_token"), "lk_rt_"),
			"a refresh token with a letter less":    bystander.Text("refresh_token")[:len(bystander.Text("refresh_token"))-1],
			"a client token":                        d.Issuer.Token(d.URL, "alice", nil),
			"an access token without its signature": parts[0] + "." + parts[1] + ".",
			"an access token with another one's":    parts[0] + "." + parts[1] + "." + strings.Split(expired, ".")[2],
			"an access token with alg none":         testserver.Base64(`{"alg":"none","typ":"at+jwt"}`) + "." + parts[1] + ".",
			"an expired access token":               expired,
			"a revoked refresh token":               revoked.Text("refresh_token"),
			"a revoked session's access token":      revoked.Text("access_token"),
			"another tenant's access token":         elsewhere.Text("access_token"),
			"another tenant's refresh token":        elsewhere.Text("refresh_token"),
		} {
			a := d.Want(200, "", d.Post("/revoke", []string{"client_id", "web", "token", token}))
			if len(a.Body) != 0 || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Pragma") != "no-cache" {
				t.Errorf("%s: %q %v", name, a.Body, a.Header)
			}
		}
		if !d.Active(good) {
			t.Error("a session was ended by what is no token of it")
		}
		d.Want(200, "", d.Refresh("", "web", bystander.Text("refresh_token")))
		d.Want(200, "", d.Refresh("/t/acme", "web", elsewhere.Text("refresh_token")))
	})
}

func TestRevokeOfAnotherClientsTokenEndsNothing(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		first := d.SignInAtBackend("alice")
		second := d.Want(200, "", d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", first.Text("refresh_token")}, testserver.AsBackend()))
		machine := d.MachineToken()
		for name, token := range map[string]string{
			"access token": second.Text("access_token"), "refresh token": second.Text("refresh_token"), "used refresh token": first.Text("refresh_token"),
			"session token": first.Text("session_token"), "token without a session": machine,
		} {
			if a := d.Post("/revoke", []string{"client_id", "web", "token", token}); a.Status != 400 || a.Error() != "invalid_grant" {
				t.Errorf("%s: %d %s", name, a.Status, a.Body)
			}
		}
		if !d.Active(second.Text("access_token")) || !d.Active(first.Text("session_token")) || !d.Active(machine) {
			t.Error("a stranger ended it")
		}
		d.Want(200, "", d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", second.Text("refresh_token")}, testserver.AsBackend()))
	})
}

func TestRevokeIgnoresACallback(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	a := d.SignIn("alice")
	plain := d.Post("/revoke", []string{"client_id", "web"})
	refused := d.Post("/revoke?callback=f", []string{"client_id", "web", "callback", "f"})
	if string(refused.Body) != string(plain.Body) || refused.Header.Get("Content-Type") != "application/json" {
		t.Errorf("a refusal: %v %s", refused.Header, refused.Body)
	}
	revoked := d.Want(200, "", d.Post("/revoke?callback=f", []string{"client_id", "web", "token", a.Text("refresh_token"), "callback", "f"}))
	if len(revoked.Body) != 0 || d.Active(a.Text("access_token")) {
		t.Errorf("a success: %v %q", revoked.Header, revoked.Body)
	}
}

func TestARevocationTakesEffectOnEveryNodeAtOnce(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: testdb.Postgres(t)})
	other := d.OtherNode()
	for name, node := range map[string]struct{ revokes, asks *testserver.Deployment }{"at the first node": {d, other}, "at the second node": {other, d}} {
		a, machine := d.SignInAtBackend("alice"), d.MachineToken()
		tokens := []string{a.Text("access_token"), a.Text("session_token"), a.Text("refresh_token"), machine}
		for _, token := range tokens {
			if !node.asks.Active(token) {
				t.Fatalf("%s: inactive before", name)
			}
		}
		for _, token := range []string{a.Text("access_token"), machine} {
			d.Want(200, "", node.revokes.Post("/revoke", []string{"token", token}, testserver.AsBackend()))
		}
		for i, token := range tokens {
			if node.asks.Active(token) {
				t.Errorf("%s: token %d is active at the other", name, i)
			}
		}
		d.Want(400, testserver.InvalidGrant, node.asks.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", a.Text("refresh_token")}, testserver.AsBackend()))
	}
}

func TestARevocationWithoutTheDatabaseFails(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: proxy.URL()})
	a, machine := d.SignInAtBackend("alice"), d.MachineToken()
	tokens := map[string]string{
		"access token": a.Text("access_token"), "refresh token": a.Text("refresh_token"), "session token": a.Text("session_token"), "token without a session": machine,
	}
	proxy.Cut()
	for name, token := range tokens {
		got := d.Post("/revoke", []string{"token", token}, testserver.AsBackend())
		if got.Status != 503 || got.Error() != "temporarily_unavailable" || got.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s %v", name, got.Status, got.Body, got.Header)
		}
	}
	proxy.Heal()
	for name, token := range tokens {
		if !d.Active(token) {
			t.Errorf("%s: revoked despite the response 503", name)
		}
	}
	for _, token := range tokens {
		d.Want(200, "", d.Post("/revoke", []string{"token", token}, testserver.AsBackend()))
		if d.Active(token) {
			t.Error("the revocation that was asked for again is without effect")
		}
	}
}
