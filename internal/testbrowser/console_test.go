//go:build browser

package testbrowser

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// hostile is text that runs a script if a page does not escape it.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(1)>`

func TestTheConsoleInABrowser(t *testing.T) {
	for _, what := range []string{"pages", "keyboard", "script-off", "link", "live", "forms", "claims", "explain"} {
		t.Run(what, func(t *testing.T) { runConsole(t, what) })
	}
}

func runConsole(t *testing.T, what string) {
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: testdb.SQLite(t), Admin: true, AdminLocal: true})
	firefox := testserver.Header("User-Agent", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0")
	signIn := func(sub, device string) {
		d.Want(200, "", d.Post("/token", []string{
			"grant_type", testserver.GrantTokenExchange, "subject_token_type", testserver.TypeJWT, "client_id", "web",
			"subject_token", d.Issuer.Token(d.URL, sub, nil), "latchkey_device_name", device,
		}, firefox))
	}
	long := strings.Repeat("a.long.id.", 12) + "@example.com"
	for _, sub := range []string{"carol", "dave", "alice", hostile, long} {
		signIn(sub, hostile)
	}
	// Its event is about nobody, and shows what the failed check compared.
	refused := models.Event{At: d.Clock.Now(), TenantID: "default", Type: models.EventClientTokenRefused, ClientID: "web", Details: map[string]any{
		"why": "subject_token_audience", "checks": []map[string]any{{"name": "grant", "outcome": "passed"}, {"name": "audience", "outcome": "failed", "detail": hostile, "expected": hostile, "received": hostile}},
	}}
	if err := d.Store.AddEvent(t.Context(), refused); err != nil {
		t.Fatal(err)
	}
	d.Apply(settings.TenantSpec{ID: "default", SigningAlgorithm: "ES256", EventDestinations: []settings.DestinationSpec{{ID: "audit", DestinationSettings: settings.DestinationSettings{
		Type: settings.DestinationWebhook, URL: "https://hooks.example.com/latchkey", Description: hostile,
	}, Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqrTwjUPD8ILPZI"}}})
	key, row := d.NewAdminKey(oauth.AdminKeySpec{Name: "browser", Role: models.RoleOwner})
	_, other := d.NewAdminKey(oauth.AdminKeySpec{Name: hostile, Role: models.RoleViewer})
	code, digest := d.Keys.NewConsoleLink()
	if _, err := d.Store.CreateConsoleLink(t.Context(), digest, row.ID, models.Actor{Name: "cli", Role: models.RoleMachine}); err != nil {
		t.Fatal(err)
	}
	rows, _, err := d.Store.SearchSessions(t.Context(), models.SessionFilter{Tenant: "default", User: "alice", Limit: 1})
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	ring, err := d.Store.SigningKeys(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	issuers, _, err := d.Store.StoredIssuers(t.Context(), "default", models.Page{Limit: 1})
	if err != nil || len(issuers) != 1 {
		t.Fatal(issuers, err)
	}
	exchange := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { signIn("erin", "") }))
	t.Cleanup(exchange.Close)
	ids, err := json.Marshal(map[string]string{"tenant": "default", "sid": rows[0].ID.String(), "kid": ring[0].Kid, "key": other.ID, "destination": "audit", "issuer": issuers[0].Row.EntryID, "long": long})
	if err != nil {
		t.Fatal(err)
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("there is no chromium: run `.ci/setup browser`, as root")
	}
	cmd := exec.CommandContext(t.Context(), "node", "console.mjs", what)
	cmd.Env = append(os.Environ(), "CHROMIUM="+chromium, "CONSOLE="+d.AdminURL, "KEY="+key, "LINK="+d.AdminURL+"/console/sign-in#"+code, "IDS="+string(ids), "EXCHANGE="+exchange.URL, "CLIENT_TOKEN="+d.Issuer.Token("https://elsewhere.example.com", "alice", nil))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
