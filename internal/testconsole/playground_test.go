package testconsole

import (
	"encoding/base64"
	"html"
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

const playgroundPath = "/console/t/acme/playground"

// withInternalIssuer switches on the client tokens of the tenant acme.
func (d *deployment) withInternalIssuer(t *testing.T) {
	t.Helper()
	tenant := testserver.Tenant("acme", d.issuer, testserver.Web())
	tenant.TrustedIssuers = append(tenant.TrustedIssuers, settings.IssuerSpec{ID: "own", IssuerSettings: settings.IssuerSettings{
		Issuer: d.URL + "/t/acme/client-tokens", TokenType: settings.TokenTypeJWT, Keys: settings.IssuerKeys{Internal: true}, SubjectPrefix: "own:",
	}})
	d.Apply(tenant)
}

// another returns a client that comes before web in a list.
func another() settings.ClientSpec {
	c := testserver.Web()
	c.ID = "another"
	return c
}

var stateField = regexp.MustCompile(`name="state" value="([^"]*)"`)

func TestPlaygroundTakesEachStep(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		b := d.signedIn(t, d.keys[models.RoleAdmin])
		if page := want(t, 200, b.get(playgroundPath)); !strings.Contains(page.text(), "This tenant mints no client tokens.") || !strings.Contains(page.body, `value="sign-in" disabled`) {
			t.Errorf("before the first step, the page is %s", page.body)
		}
		if page := b.get("/console/t/acme/clients/web/integrate"); !strings.Contains(page.body, `href="`+playgroundPath+`?client=web"`) {
			t.Error("the tab Integrate has no link to the playground")
		}
		if page := b.get("/console/t/default/clients/backend/integrate"); strings.Contains(page.body, "playground?client=") {
			t.Error("the tab Integrate offers a client that the playground cannot use")
		}
		d.Apply(testserver.Tenant("acme", d.issuer, testserver.Web(), another()))
		if page := b.get(playgroundPath + "?client=web"); !strings.Contains(page.body, "<option selected>web</option>") {
			t.Errorf("the client is not chosen: %s", page.body)
		}
		wantText(t, want(t, 200, b.post(playgroundPath, "step", "sign-in", "sub", "alice", "client", "web", "how", "pwd")), "This tenant mints no client tokens.")
		d.withInternalIssuer(t)
		state := ""
		step := func(name string, texts ...string) *response {
			t.Helper()
			r := want(t, 200, b.post(playgroundPath, "step", name, "state", state, "sub", "alice", "client", "web", "how", "pwd"))
			wantText(t, r, texts...)
			state = html.UnescapeString(stateField.FindStringSubmatch(r.body)[1])
			return r
		}
		step("sign-in", "Sign in. Your authentication service vouches for alice", "Client token, decoded", `"amr": [ "pwd" ]`)
		step("exchange", "it got an access token and a refresh token", "POST /token", "Received: 200", `"sub": "own:alice"`, "Access token, decoded")
		step("refresh", "A refresh token works once")
		step("lost", "It got the same next token, and nobody was signed out.")
		step("step-up", "the same session became stronger", `"hwk"`)
		step("check", "The session is alive.", "GET /session")
		step("refresh")
		step("refresh")
		r := step("theft", "the session ended for everybody", "refresh_reused", "Received: 400")
		if !regexp.MustCompile(`value="refresh" disabled`).MatchString(r.body) {
			t.Error("the session can still be refreshed")
		}
		step("check", "The session has ended", "Received: 401")
		step("sign-in")
		step("exchange")
		step("revoke", "with it the whole session")
		step("check", "The session has ended")

		damaged := base64.RawURLEncoding.EncodeToString([]byte(`{"client":7}`))
		want(t, 400, b.post(playgroundPath, "step", "check", "state", damaged))
		want(t, 400, b.post(playgroundPath, "step", "refresh"))
		want(t, 400, b.post(playgroundPath, "step", "nonsense"))
		hostile := base64.RawURLEncoding.EncodeToString([]byte(`{"client":"web","access":"x","log":[{"title":"<script>alert(1)</script>","text":"<img src=x>","class":"\"><script>"}]}`))
		if r := b.post(playgroundPath, "step", "check", "state", hostile); strings.Contains(r.body, "<script>alert") || strings.Contains(r.body, "<img src=x") || strings.Contains(r.body, `"><script>`) {
			t.Errorf("the page is %s", r.body)
		}
	})
}
