package handlers_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

func TestAUsedTokenIsJudgedBeforeTheScopeThatItAsksFor(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signIn("alice")
		b := w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
		w.want(400, "invalid_scope", w.Refresh("", "web", a.Text("refresh_token"), "scope", "admin")) // a retry, still refusable
		w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
		w.Clock.Advance(time.Minute)
		w.want(400, refused, w.Refresh("", "web", a.Text("refresh_token"), "scope", "admin"))
		w.want(400, refused, w.Refresh("", "web", b.Text("refresh_token"), "audience", "made-up")) // the reuse has ended the session
		w.want(400, refused, w.Refresh("", "web", b.Text("refresh_token")))
	})
}

func TestATargetThatIsTakenAwayIsNotReplacedByAnother(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signIn("alice", "audience", "https://api.example.com")
		client := testserver.Web()
		client.Audiences = nil
		w.Apply(testserver.Tenant("default", w.issuer, client, testserver.Backend()))
		for _, asked := range [][]string{{"audience", "https://api.example.com"}, {"audience", "web"}, nil} {
			w.want(400, "invalid_target", w.Refresh("", "web", a.Text("refresh_token"), asked...))
		}
		w.Apply(testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend()))
		if got := claims(t, w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))); got["aud"] != "https://api.example.com" {
			t.Errorf("aud %v", got["aud"])
		}
	})
}

func TestAKeyThatDoesNotOpenLeavesTheOthersInService(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		db := openDatabase(t, w.DatabaseURL)
		for _, statement := range []string{
			`INSERT INTO signing_keys (tenant_id, kid, algorithm, sealed, root_version, created_at, activates_at)
				SELECT tenant_id, 'attacker', algorithm, sealed, root_version, created_at, activates_at + 1 FROM signing_keys WHERE tenant_id = 'default'`,
			"UPDATE tenants SET revision = revision + 1",
		} {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.OAuth.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !w.active(w.signIn("alice").Text("access_token")) {
			t.Error("inactive")
		}
		if keys := w.Get("/.well-known/jwks.json").JSON["keys"].([]any); len(keys) != 1 {
			t.Errorf("%v", keys)
		}
	})
}

func TestABrowserCanReadAnOutage(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	w := newWorld(t, testserver.Options{DatabaseURL: proxy.URL()})
	a := w.signIn("alice")
	proxy.Cut()
	w.Clock.Advance(time.Minute) // longer than a node trusts what it knows
	origin := testserver.Header("Origin", "https://app.example.com")
	preflight := w.Do(http.MethodOptions, "/token", nil, origin)
	if preflight.Status != 204 || preflight.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("preflight: %d %v", preflight.Status, preflight.Header)
	}
	answer := w.want(503, "temporarily_unavailable", w.Post("/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", a.Text("refresh_token")}, origin))
	if answer.Header.Get("Access-Control-Allow-Origin") != "https://app.example.com" || answer.Header.Get("Retry-After") == "" {
		t.Errorf("%v", answer.Header)
	}
}

func TestATokenWithoutASessionDoesNotComeBackWithItsClient(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		api := api()
		api.Grants = []string{models.GrantClientCredentials}
		w.Apply(testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend(), api))
		asAPI := testserver.Basic("api", api.Secret)
		old := w.want(200, "", w.Post("/token", []string{"grant_type", "client_credentials"}, asAPI))
		w.Clock.Advance(time.Second)
		for _, disabled := range []bool{true, false} {
			api.Disabled = disabled
			w.Apply(testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend(), api))
		}
		if w.active(old.Text("access_token")) {
			t.Error("active again")
		}
		w.Clock.Advance(time.Second)
		if fresh := w.want(200, "", w.Post("/token", []string{"grant_type", "client_credentials"}, asAPI)); !w.active(fresh.Text("access_token")) {
			t.Error("a fresh one is inactive")
		}
	})
}

func TestOddPathsAndValidators(t *testing.T) {
	w := newWorld(t, sqlite(t))
	w.Apply(testserver.Tenant("acme", testserver.NewIssuer(t, w.Clock)))
	for _, path := range []string{"/t/acme%2f.well-known/jwks.json", "/t/acme%2ftoken", "/t/a%00b/.well-known/jwks.json", "/t/%ff/.well-known/jwks.json", "//token"} {
		if a := w.Get(path); a.Status != 404 || a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Pragma") != "no-cache" {
			t.Errorf("%s: %d %v", path, a.Status, a.Header)
		}
	}
	etag := w.Get("/.well-known/jwks.json").Header.Get("ETag")
	for field, want := range map[string]int{"*": 304, `"x", ` + etag: 304, "W/" + etag: 304, "x" + etag + "y": 200, `"x"`: 200} {
		if a := w.Get("/.well-known/jwks.json", testserver.Header("If-None-Match", field)); a.Status != want {
			t.Errorf("If-None-Match %s: %d, want %d", field, a.Status, want)
		}
	}
}

func TestTwoLargeNumbersAreNeverOneUser(t *testing.T) {
	w := newWorld(t, sqlite(t))
	entry := w.issuer.Entry()
	entry.Subject = "string(token.uid)"
	w.Apply(models.TenantSpec{ID: "default", TrustedIssuers: []models.IssuerSpec{entry}})
	raw := func(uid string) string {
		return w.issuer.SignText(`{"iss":"` + w.issuer.URL + `","aud":"` + w.URL + `","sub":"x","jti":"` + uid + `","iat":` + w.now(0) + `,"exp":` + w.now(60) + `,"uid":` + uid + `}`)
	}
	if a := w.want(200, "", w.Exchange("", "web", raw("9223372036854775807"))); claims(t, a)["sub"] != "9223372036854775807" {
		t.Errorf("%v", claims(t, a)["sub"])
	}
	for _, uid := range []string{"9223372036854775808", "18446744073709551615", "1e400"} {
		w.want(400, "invalid_request", w.Exchange("", "web", raw(uid)))
	}
}

func TestARetryAfterAnOutageNeverOutlivesTheIdleEnd(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	w := newWorld(t, testserver.Options{DatabaseURL: proxy.URL()})
	client := testserver.Web()
	client.Preset = "aal3" // 5 min access, 15 min without use
	w.Apply(testserver.Tenant("default", w.issuer, client, testserver.Backend()))
	first := w.signIn("alice").Text("refresh_token")
	w.want(200, "", w.Refresh("", "web", first))
	proxy.Cut()
	w.want(503, "temporarily_unavailable", w.Refresh("", "web", first))
	w.Clock.Advance(13 * time.Minute)
	proxy.Heal()
	if a := w.want(200, "", w.Refresh("", "web", first)); a.JSON["expires_in"] != 120.0 {
		t.Errorf("expires_in %v two minutes before the idle end", a.JSON["expires_in"])
	}
}
