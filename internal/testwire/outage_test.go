package testwire

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

func TestADatabaseOutageIsNeverARejection(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: proxy.URL()})
	a := d.SignIn("alice")
	b := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
	unspent := d.Issuer.Token(d.URL, "bob", nil)
	asBackend := testserver.Basic("backend", testserver.ClientSecret)

	proxy.Cut()
	for name, answer := range map[string]*testserver.Answer{
		"exchange":   d.Exchange("", "web", unspent),
		"refresh":    d.Refresh("", "web", b.Text("refresh_token")),
		"narrowing":  d.Refresh("", "web", b.Text("refresh_token"), "scope", "profile"),
		"revoke":     d.Post("/revoke", []string{"client_id", "web", "token", b.Text("refresh_token")}),
		"introspect": d.Introspect("", b.Text("access_token")),
	} {
		if answer.Status != 503 || answer.Error() != "temporarily_unavailable" || answer.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", name, answer.Status, answer.Body)
		}
	}
	d.Want(200, "", d.Get("/.well-known/jwks.json"))
	d.Want(200, "", d.Get("/.well-known/openid-configuration"))
	d.Want(200, "", d.Get("/healthz"))
	if ready := d.Get("/readyz"); ready.Status != 503 {
		t.Errorf("ready without a database: %d", ready.Status)
	}
	d.Clock.Advance(time.Minute)
	d.Want(503, "temporarily_unavailable", d.Post("/token", []string{"grant_type", "client_credentials"}, asBackend)) // its copy of the clients is too old
	d.Want(200, "", d.Get("/.well-known/jwks.json"))

	proxy.Heal()
	d.Want(200, "", d.Exchange("", "web", unspent))
	d.Want(200, "", d.Refresh("", "web", b.Text("refresh_token")))
}

func TestAnOutageExtendsTheRetryWindow(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	client := testserver.Web()
	client.LateRetry = settings.LateRetryNever // responses come only within the window
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: proxy.URL()}, client, testserver.Backend())
	first := d.SignIn("alice").Text("refresh_token")
	second := d.Want(200, "", d.Refresh("", "web", first)).Text("refresh_token") // assume that this response is lost
	outage := func(elapsed time.Duration) {
		proxy.Cut()
		d.Want(503, "temporarily_unavailable", d.Refresh("", "web", first))
		d.Clock.Advance(elapsed)
		proxy.Heal()
	}
	outage(10 * time.Minute)
	if again := d.Want(200, "", d.Refresh("", "web", first)); again.Text("refresh_token") != second {
		t.Error("another successor after an outage")
	}
	d.Clock.Advance(9 * time.Second)
	d.Want(200, "", d.Refresh("", "web", first))
	d.Clock.Advance(time.Second)
	d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", first)) // the window after the contact has ended
	d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", second))

	first = d.SignIn("bob").Text("refresh_token")
	d.Want(200, "", d.Refresh("", "web", first))
	outage(15 * time.Minute)
	d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", first)) // no outage extends it further
}

func TestLogsContainNoSecrets(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		token := d.Issuer.Token(d.URL, "alice", nil)
		a := d.Want(200, "", d.Exchange("", "web", token))
		b := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		d.Clock.Advance(time.Minute)
		d.Exchange("", "web", token)
		d.Refresh("", "web", a.Text("refresh_token"))
		d.Introspect("", b.Text("access_token"))
		d.Post("/introspect", []string{"token", b.Text("access_token")}, testserver.Basic("backend", "a-wrong-secret"))
		d.Post("/token?refresh_token="+a.Text("refresh_token"), []string{"grant_type", "refresh_token"})
		d.Post("/revoke", []string{"client_id", "web", "token", b.Text("access_token")})
		log := d.Log.String()
		for name, secret := range map[string]string{
			"client token": token, "its signature": token[strings.LastIndex(token, ".")+1:],
			"access token": b.Text("access_token"), "refresh token": a.Text("refresh_token")[:40], "successor": b.Text("refresh_token")[:40],
			"root secret": testserver.RootSecret, "client secret": testserver.ClientSecret, "wrong secret": "a-wrong-secret",
		} {
			if strings.Contains(log, secret) {
				t.Errorf("the log holds the %s", name)
			}
		}
		if !strings.Contains(log, a.Text("session_id")) || !strings.Contains(log, `"client":"web"`) {
			t.Errorf("the log does not name session and client:\n%s", log)
		}
	})
}

// A node that knows of a change, but cannot read it yet, serves public documents from
// its last copy.
func TestPublicDocumentsAreServedDuringAnOutage(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: proxy.URL()})
	d.Want(200, "", d.Get("/.well-known/jwks.json"))
	if _, err := d.OAuth.RotateSigningKey(t.Context(), "default", models.ServerActor); err != nil {
		t.Fatal(err)
	}
	if err := d.OAuth.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	proxy.Cut()
	d.Want(200, "", d.Get("/.well-known/jwks.json"))
	d.Want(200, "", d.Get("/.well-known/openid-configuration"))
	a := d.Do("POST", "/token", strings.NewReader("grant_type=refresh_token&client_id=web&refresh_token=x"), testserver.ContentType(testserver.FormType), testserver.Origin("https://app.example.com"))
	if d.Want(503, "temporarily_unavailable", a); a.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Error("a browser cannot read the 503")
	}
}
