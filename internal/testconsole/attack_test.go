package testconsole

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// A program on another port of the host, or a page of a sibling domain, can set cookies of
// the console before the operator signs in (session fixation).
func TestASignInKeepsNoCookieThatItFound(t *testing.T) {
	d := sqlite(t)
	attacker := d.signedIn(t, d.keys[models.RoleViewer])
	want(t, 200, attacker.get("/console/tenants"))
	chosen := attacker.handle()
	victim := d.browser(t)
	for _, value := range []string{chosen, "chosen-by-somebody"} {
		victim.setHandle(value)
		r := victim.post("/console/sign-in", "secret", d.keys[models.RoleAdmin], "replace", d.rows[models.RoleViewer].ID)
		want(t, 303, r)
		c := r.cookie("latchkey-console")
		if c == nil || c.Value == value {
			t.Fatalf("after the sign-in, the cookie is %v", c)
		}
		attacker.setHandle(value)
		want(t, 303, attacker.get("/console/tenants")) // to the sign-in page: the session that was replaced has ended
	}
	wantText(t, want(t, 200, victim.get("/console/tenants")), "the admin")
}

// setHandle sets the session's cookie, as somebody who controls the host's cookies could.
func (b *browser) setHandle(value string) {
	r, _ := http.NewRequest(http.MethodGet, b.d.AdminURL+"/console", nil)
	b.client.Jar.SetCookies(r.URL, []*http.Cookie{{Name: "latchkey-console-" + r.URL.Port(), Value: value, Path: "/"}})
}

// Whatever the role, no page contains a stored secret, and the pages of a key of one
// tenant contain nothing of another.
func TestNoPageShowsASecretOrAnotherTenant(t *testing.T) {
	d := sqlite(t)
	const shared, webhook = "a-shared-secret-of-an-issuer-0123456789", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqrTwjUPD8ILPZI"
	acme := testserver.Tenant("acme", d.issuer, testserver.Web(), testserver.Backend())
	acme.TrustedIssuers = append(acme.TrustedIssuers, settings.IssuerSpec{ID: "shared", IssuerSettings: settings.IssuerSettings{
		Issuer: "https://shared.example.com", TokenType: settings.TokenTypeJWT, Algorithms: []string{"HS256"}, SubjectPrefix: "shared:", Keys: settings.IssuerKeys{SharedSecret: shared},
	}})
	acme.EventDestinations = []settings.DestinationSpec{{ID: "siem", Secret: webhook, DestinationSettings: settings.DestinationSettings{Type: settings.DestinationWebhook, URL: "https://hooks.example.com/"}}}
	other := testserver.Tenant("default", d.Issuer, testserver.Web())
	other.Clients[0].Name = "elsewhere-client"
	other.Users = []settings.UserSpec{{Sub: "elsewhere-user", Attributes: map[string]any{"plan": "elsewhere-plan"}}}
	d.Apply(acme, other)
	inAcme(t, d)
	secrets := map[string]string{"the secret of a client": testserver.ClientSecret, "a shared secret": shared, "the secret of a webhook": webhook, "its key": strings.TrimPrefix(webhook, "whsec_")}
	for role, key := range d.keys {
		secrets["the key of the role "+string(role)] = key
	}
	for _, role := range []models.Role{models.RoleAdmin, models.RoleSupport, models.RoleViewer} {
		key, _ := d.NewAdminKey(oauth.AdminKeySpec{Name: "acme's " + string(role), Role: role, Tenants: []string{"acme"}})
		secrets["its own key"] = key
		b := d.signedIn(t, key)
		n := crawl(t, b, "/console/t/acme/sessions", func(path string, r *response) {
			for what, secret := range secrets {
				if strings.Contains(r.body, secret) {
					t.Errorf("as %s, %s contains %s", role, path, what)
				}
			}
			if strings.Contains(r.body, "elsewhere-") || strings.Contains(r.body, "/t/default") || strings.Contains(r.body, b.handle()) {
				t.Errorf("as %s, %s contains another tenant, or the cookie", role, path)
			}
		})
		if n < 20 {
			t.Errorf("as %s, only %d pages were found", role, n)
		}
	}
}

// The console sends requests where an admin says: to a receiver that is tested, and to an
// issuer that is checked.
func TestNoPageFetchesAPrivateAddress(t *testing.T) {
	d := sqlite(t)
	// Connections count: the console does not trust the certificate, so that no request
	// would follow in any case.
	var hits atomic.Int32
	inside := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "the content of an internal page")
	}))
	inside.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			hits.Add(1)
		}
	}
	inside.StartTLS()
	t.Cleanup(inside.Close)
	b := d.signedIn(t, d.keys[models.RoleAdmin])
	const at = "/console/t/default"
	for i, target := range []string{inside.URL, strings.Replace(inside.URL, "127.0.0.1", "localhost", 1), strings.Replace(inside.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1), "https://169.254.169.254"} {
		id := fmt.Sprint("hook", i)
		want(t, 200, b.post(at+"/new-destination", "id", id, "type", "webhook", "url", target+"/", "allow_private_addresses", ""))
		r := b.post(at+"/destinations/"+id, "do", "test")
		if strings.Contains(r.body, "internal page") || r.status >= 500 {
			t.Errorf("%s: status %d, the page shows %s", target, r.status, r.text())
		}
		id = fmt.Sprint("issuer", i)
		want(t, 303, b.post(at+"/issuers/new", "id", id, "issuer", target, "token_type", "jwt", "keys", "discovery", "subject_prefix", id+":"))
		r = want(t, 200, b.post(at+"/issuers/"+id+"/check"))
		if strings.Contains(r.body, "internal page") || !strings.Contains(r.text(), "cannot be fetched") {
			t.Errorf("%s: the check shows %s", target, r.text())
		}
	}
	// Only an owner may allow private addresses.
	for _, value := range []string{"true", "yes", "on"} {
		if r := b.post(at+"/destinations/hook0/edit", "type", "webhook", "url", inside.URL+"/", "allow_private_addresses", value); r.status < 400 {
			b.post(at+"/destinations/hook0", "do", "test")
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("the internal server received %d connections", n)
	}
}
