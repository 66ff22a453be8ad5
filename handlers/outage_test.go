package handlers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

func TestAnOutageOfTheDatabaseIsNeverARefusal(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	w := newWorld(t, testserver.Options{DatabaseURL: proxy.URL()})
	a := w.signIn("alice")
	b := w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
	unspent := w.issuer.Token(w.URL, "bob", nil)
	asBackend := testserver.Basic("backend", testserver.ClientSecret)

	proxy.Cut()
	for name, answer := range map[string]*testserver.Answer{
		"exchange":   w.Exchange("", "web", unspent),
		"refresh":    w.Refresh("", "web", b.Text("refresh_token")),
		"narrowing":  w.Refresh("", "web", b.Text("refresh_token"), "scope", "profile"),
		"revoke":     w.Post("/revoke", []string{"client_id", "web", "token", b.Text("refresh_token")}),
		"introspect": w.Introspect("", b.Text("access_token")),
	} {
		if answer.Status != 503 || answer.Error() != "temporarily_unavailable" || answer.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", name, answer.Status, answer.Body)
		}
	}
	w.want(200, "", w.Get("/.well-known/jwks.json"))
	w.want(200, "", w.Get("/.well-known/openid-configuration"))
	w.want(200, "", w.Get("/healthz"))
	if ready := w.Get("/readyz"); ready.Status != 503 {
		t.Errorf("ready without a database: %d", ready.Status)
	}
	w.Clock.Advance(time.Minute)
	w.want(503, "temporarily_unavailable", w.Post("/token", []string{"grant_type", "client_credentials"}, asBackend)) // its view of the clients is too old
	w.want(200, "", w.Get("/.well-known/jwks.json"))

	proxy.Heal()
	w.want(200, "", w.Exchange("", "web", unspent))
	w.want(200, "", w.Refresh("", "web", b.Text("refresh_token")))
}

func TestAnOutageExtendsTheRetryWindow(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	w := newWorld(t, testserver.Options{DatabaseURL: proxy.URL()})
	first := w.signIn("alice").Text("refresh_token")
	second := w.want(200, "", w.Refresh("", "web", first)).Text("refresh_token") // suppose this answer is lost
	outage := func(d time.Duration) {
		proxy.Cut()
		w.want(503, "temporarily_unavailable", w.Refresh("", "web", first))
		w.Clock.Advance(d)
		proxy.Heal()
	}
	outage(10 * time.Minute)
	if again := w.want(200, "", w.Refresh("", "web", first)); again.Text("refresh_token") != second {
		t.Error("another successor after an outage")
	}
	w.Clock.Advance(9 * time.Second)
	w.want(200, "", w.Refresh("", "web", first))
	w.Clock.Advance(time.Second)
	w.want(400, refused, w.Refresh("", "web", first)) // the window after the contact is over
	w.want(400, refused, w.Refresh("", "web", second))

	first = w.signIn("bob").Text("refresh_token")
	w.want(200, "", w.Refresh("", "web", first))
	outage(15 * time.Minute)
	w.want(400, refused, w.Refresh("", "web", first)) // no outage extends it further
}

func TestLogsHoldNoSecrets(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		token := w.issuer.Token(w.URL, "alice", nil)
		a := w.want(200, "", w.Exchange("", "web", token))
		b := w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
		w.Clock.Advance(time.Minute)
		w.Exchange("", "web", token)
		w.Refresh("", "web", a.Text("refresh_token"))
		w.Introspect("", b.Text("access_token"))
		w.Post("/introspect", []string{"token", b.Text("access_token")}, testserver.Basic("backend", "a-wrong-secret"))
		w.Post("/token?refresh_token="+a.Text("refresh_token"), []string{"grant_type", "refresh_token"})
		w.Post("/revoke", []string{"client_id", "web", "token", b.Text("access_token")})
		log := w.Log.String()
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

// A node that knows of a change, but not yet what has changed, serves what is
// public as it last saw it.
func TestPublicDocumentsOutliveAnOutageAfterAChange(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	w := newWorld(t, testserver.Options{DatabaseURL: proxy.URL()})
	w.want(200, "", w.Get("/.well-known/jwks.json"))
	if _, err := w.OAuth.RotateSigningKey(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	if err := w.OAuth.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	proxy.Cut()
	w.want(200, "", w.Get("/.well-known/jwks.json"))
	w.want(200, "", w.Get("/.well-known/openid-configuration"))
	a := w.Do("POST", "/token", strings.NewReader("grant_type=refresh_token&client_id=web&refresh_token=x"), contentType(formType), origin("https://app.example.com"))
	if w.want(503, "temporarily_unavailable", a); a.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Error("a browser cannot read the 503")
	}
}
