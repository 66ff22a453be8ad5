package testwire

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

func TestAUsedTokenIsDetectedBeforeItsScopeIsChecked(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		b := d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		d.Want(400, "invalid_scope", d.Refresh("", "web", a.Text("refresh_token"), "scope", "admin")) // a retry may still be rejected
		d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		d.Clock.Advance(time.Minute)
		d.Want(400, "invalid_scope", d.Refresh("", "web", a.Text("refresh_token"), "scope", "admin")) // and so may a late retry
		if got := d.EventTypes(a.Text("session_id")); len(got) != 1 {
			t.Errorf("a refused late retry leaves the events %v", got)
		}
		c := d.Want(200, "", d.Refresh("", "web", b.Text("refresh_token")))
		d.Clock.Advance(time.Minute)
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", a.Text("refresh_token"), "scope", "admin"))
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", c.Text("refresh_token"), "audience", "made-up")) // the reuse has ended the session
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", c.Text("refresh_token")))
	})
}

func TestARemovedTargetIsNotReplaced(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice", "audience", "https://api.example.com")
		client := testserver.Web()
		client.Audiences = nil
		d.Apply(testserver.Tenant("default", d.Issuer, client, testserver.Backend()))
		for _, asked := range [][]string{{"audience", "https://api.example.com"}, {"audience", "web"}, nil} {
			d.Want(400, "invalid_target", d.Refresh("", "web", a.Text("refresh_token"), asked...))
		}
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend()))
		if got := testserver.Claims(t, d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))); got["aud"] != "https://api.example.com" {
			t.Errorf("aud %v", got["aud"])
		}
	})
}

func TestAnUnreadableKeyLeavesTheOthersInService(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		db := testserver.OpenDatabase(t, d.DatabaseURL)
		for _, statement := range []string{
			`INSERT INTO signing_keys (tenant_id, kid, algorithm, sealed, root_version, created_at, activates_at)
				SELECT tenant_id, 'attacker', algorithm, sealed, root_version, created_at, activates_at + 1 FROM signing_keys WHERE tenant_id = 'default'`,
			"UPDATE tenants SET revision = revision + 1",
		} {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.OAuth.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !d.Active(d.SignIn("alice").Text("access_token")) {
			t.Error("inactive")
		}
		if keys := d.Get("/.well-known/jwks.json").JSON["keys"].([]any); len(keys) != 1 {
			t.Errorf("%v", keys)
		}
	})
}

func TestABrowserCanReadAnOutage(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: proxy.URL()})
	a := d.SignIn("alice")
	proxy.Cut()
	d.Clock.Advance(time.Minute) // longer than a node relies on its memory
	origin := testserver.Header("Origin", "https://app.example.com")
	preflight := d.Do(http.MethodOptions, "/token", nil, origin)
	if preflight.Status != 204 || preflight.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("preflight: %d %v", preflight.Status, preflight.Header)
	}
	answer := d.Want(503, "temporarily_unavailable", d.Post("/token", []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", a.Text("refresh_token")}, origin))
	if answer.Header.Get("Access-Control-Allow-Origin") != "https://app.example.com" || answer.Header.Get("Retry-After") == "" {
		t.Errorf("%v", answer.Header)
	}
}

func TestATokenWithoutASessionStaysInactiveAfterItsClientIsEnabled(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		api := testserver.APIClient()
		api.Grants = []string{settings.GrantClientCredentials}
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(), api))
		asAPI := testserver.Basic("api", api.Secret)
		old := d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, asAPI))
		d.Clock.Advance(time.Second)
		for _, disabled := range []bool{true, false} {
			api.Disabled = disabled
			d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(), api))
		}
		if d.Active(old.Text("access_token")) {
			t.Error("active again")
		}
		d.Clock.Advance(time.Second)
		if fresh := d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, asAPI)); !d.Active(fresh.Text("access_token")) {
			t.Error("a fresh one is inactive")
		}
	})
}

func TestOddPathsAndValidators(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	d.Apply(testserver.Tenant("acme", testserver.NewIssuer(t, d.Clock)))
	for _, path := range []string{"/t/acme%2f.well-known/jwks.json", "/t/acme%2ftoken", "/t/a%00b/.well-known/jwks.json", "/t/%ff/.well-known/jwks.json", "//token"} {
		if a := d.Get(path); a.Status != 404 || a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Pragma") != "no-cache" {
			t.Errorf("%s: %d %v", path, a.Status, a.Header)
		}
	}
	etag := d.Get("/.well-known/jwks.json").Header.Get("ETag")
	for field, want := range map[string]int{"*": 304, `"x", ` + etag: 304, "W/" + etag: 304, "x" + etag + "y": 200, `"x"`: 200} {
		if a := d.Get("/.well-known/jwks.json", testserver.Header("If-None-Match", field)); a.Status != want {
			t.Errorf("If-None-Match %s: %d, want %d", field, a.Status, want)
		}
	}
}

func TestLargeNumericSubjectsStayDistinct(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	entry := d.Issuer.Entry()
	entry.Subject = "string(token.uid)"
	d.Apply(settings.TenantSpec{ID: "default", TrustedIssuers: []settings.IssuerSpec{entry}})
	raw := func(uid string) string {
		return d.Issuer.SignText(`{"iss":"` + d.Issuer.URL + `","aud":"` + d.URL + `","sub":"x","jti":"` + uid + `","iat":` + d.JSONTime(0) + `,"exp":` + d.JSONTime(60) + `,"uid":` + uid + `}`)
	}
	if a := d.Want(200, "", d.Exchange("", "web", raw("9223372036854775807"))); testserver.Claims(t, a)["sub"] != "9223372036854775807" {
		t.Errorf("%v", testserver.Claims(t, a)["sub"])
	}
	vast := []string{"9223372036854775808", "18446744073709551615", "-9223372036854775809", "1e400", "-1e400", strings.Repeat("9", 400)}
	for _, uid := range vast {
		if a := d.Want(400, "invalid_request", d.Exchange("", "web", raw(uid))); a.Text("latchkey_reason") != "subject_token_subject" {
			t.Errorf("%s: %s", uid, a.Body)
		}
	}
	for name, use := range map[string]func(*settings.IssuerSpec){
		"a claim that is mapped":   func(i *settings.IssuerSpec) { i.UserAttributes = map[string]string{"uid": "token.uid"} },
		"a claim in a list":        func(i *settings.IssuerSpec) { i.SessionAttributes = map[string]string{"uid": "[token.uid]"} },
		"all claims of the token":  func(i *settings.IssuerSpec) { i.UserAttributes = map[string]string{"all": "token"} },
		"a claim that is compared": func(i *settings.IssuerSpec) { i.UserAttributes = map[string]string{"uid": "token.uid == 1.0"} },
	} {
		entry := d.Issuer.Entry()
		use(&entry)
		d.Apply(settings.TenantSpec{ID: "default", TrustedIssuers: []settings.IssuerSpec{entry}})
		for _, uid := range vast {
			if a := d.Want(400, "invalid_request", d.Exchange("", "web", raw(uid))); a.Text("latchkey_reason") != "subject_token_mapping" {
				t.Errorf("%s: %s: %s", name, uid, a.Body)
			}
		}
	}
}

func TestAVastNumberInAnUnusedClaimIsAccepted(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	for i, number := range []string{"9223372036854775808", "18446744073709551615", "-1e400", "1E+999", "[0, {\"a\": 123456789012345678901234567890}]", strings.Repeat("7", 400)} {
		token := d.Issuer.SignText(`{"iss":"` + d.Issuer.URL + `","aud":"` + d.URL + `","sub":"alice","jti":"` + strconv.Itoa(i) + `","iat":` + d.JSONTime(0) + `,"exp":` + d.JSONTime(60) + `,"unused":` + number + `}`)
		if a := d.Want(200, "", d.Exchange("", "web", token)); testserver.Claims(t, a)["sub"] != "alice" {
			t.Errorf("%s: %v", number, testserver.Claims(t, a))
		}
	}
	for _, claim := range []string{`"exp":1e400`, `"exp":99999999999999999999`, `"iat":1e400`} {
		token := d.Issuer.SignText(`{"iss":"` + d.Issuer.URL + `","aud":"` + d.URL + `","sub":"alice","jti":"` + claim + `","iat":` + d.JSONTime(0) + `,` + claim + `}`)
		d.Want(400, "invalid_request", d.Exchange("", "web", token))
	}
}

func TestARetryAfterAnOutageRespectsTheInactivityTimeout(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: proxy.URL()})
	client := testserver.Web()
	client.Preset = "aal3" // access tokens of 5 min, inactivity timeout of 15 min
	d.Apply(testserver.Tenant("default", d.Issuer, client, testserver.Backend()))
	first := d.SignIn("alice").Text("refresh_token")
	d.Want(200, "", d.Refresh("", "web", first))
	proxy.Cut()
	d.Want(503, "temporarily_unavailable", d.Refresh("", "web", first))
	d.Clock.Advance(13 * time.Minute)
	proxy.Heal()
	if a := d.Want(200, "", d.Refresh("", "web", first)); a.JSON["expires_in"] != 120.0 {
		t.Errorf("expires_in %v two minutes before the idle end", a.JSON["expires_in"])
	}
}
