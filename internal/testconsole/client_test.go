package testconsole

import (
	"encoding/base64"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

const clientsPath = "/console/t/default/clients"

// version returns the version that the form of a page sends back.
func (r *response) version() string {
	found := regexp.MustCompile(`name="version" value="([^"]*)"`).FindStringSubmatch(r.body)
	if found == nil {
		return ""
	}
	return html.UnescapeString(found[1])
}

func TestClientsAreCreatedAndChanged(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		b := d.signedIn(t, d.keys[models.RoleAdmin])
		wantText(t, want(t, 200, b.get(clientsPath)), "web web or mobile app enabled", "backend back end with users")
		if page := want(t, 200, b.get(clientsPath+"?q=backe")); strings.Contains(page.text(), "web or mobile") {
			t.Errorf("a search for backe shows %s", page.text())
		}
		wantText(t, want(t, 200, b.get(clientsPath+"?state=suspended")), "No client matches")
		wantText(t, want(t, 200, b.get(clientsPath+"?state=enabled")), "web web or mobile app enabled")

		new := clientsPath + "/new"
		wantText(t, want(t, 200, b.get(new)), "A user is signed out after 15 minutes without use, and after 12 hours in any case.", "A user stays signed in for 6 months, however seldom")
		for _, c := range []struct{ id, text string }{{"", "is missing"}, {"a b", "must be 1–64 of"}, {"web", "is the id of another client"}} {
			refused := b.post(new, "kind", "app", "id", c.id, "name", "<script>alert(1)</script>", "audiences", "https://api.example.com\n demo ")
			if refused.status < 400 || refused.status >= 500 {
				t.Errorf("the id %q: %d", c.id, refused.status)
			}
			wantText(t, refused, c.text)
			if strings.Contains(refused.body, "<script>alert") || !strings.Contains(refused.body, "https://api.example.com\ndemo</textarea>") {
				t.Errorf("the form does not repeat what was typed: %s", refused.body)
			}
		}
		created := want(t, 303, b.post(new, "kind", "app", "id", "shop", "name", "Tea <b>shop</b>", "preset", "mobile", "scopes", "orders:read profile", "origins", "https://shop.example.com"))
		if to := created.header.Get("Location"); to != clientsPath+"/shop/integrate" {
			t.Errorf("it leads to %s", to)
		}
		wantText(t, want(t, 200, b.get(clientsPath+"/shop/integrate")), "Tea <b>shop</b>", "The client is ready.")

		secret := want(t, 200, b.post(new, "kind", "api", "id", "orders"))
		found := regexp.MustCompile(`<code id="secret">([^<]+)</code>`).FindStringSubmatch(secret.body)
		if found == nil || secret.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("the page shows no secret: %s", secret.body)
		}
		if a := d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("orders", found[1])); a.Status != 200 {
			t.Errorf("the secret does not work: %d %s", a.Status, a.Body)
		}
		if strings.Contains(b.get(clientsPath+"/orders").body, found[1]) {
			t.Error("the secret is shown again")
		}

		page := want(t, 200, b.get(clientsPath+"/shop"))
		wantText(t, page, "A user stays signed in for 6 months")
		fields := []string{"version", page.version(), "name", "Shop", "preset", "mobile", "absolute_lifetime", "14d", "inactivity_timeout", "8d", "grants", "token-exchange", "grants", "refresh", "scopes", "orders:read", "status_list", "true"}
		want(t, 303, b.post(clientsPath+"/shop", fields...))
		changed := want(t, 200, b.get(clientsPath+"/shop"))
		wantText(t, changed, "Saved.", "A user who opens the app once a week stays signed in for 14 days.", `"scopes": [ "orders:read" ]`, `"status_list": true`)
		if strings.Contains(changed.text(), `"origins"`) {
			t.Error("the origins are still there")
		}
		fields[3] = "Another name"
		wantText(t, want(t, 412, b.post(clientsPath+"/shop", fields...)), "Nothing was changed.")
		fields[1], fields[7] = changed.version(), "300d"
		fields[9] = "1s"
		refused := want(t, 400, b.post(clientsPath+"/shop", fields...))
		if !strings.Contains(refused.body, `value="1s"`) || !strings.Contains(refused.body, "aria-invalid") {
			t.Errorf("the field is not marked: %s", refused.body)
		}
	})
}

func TestClientsGetNewSecretsAreSuspendedAndDeleted(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleAdmin])
	backend := clientsPath + "/backend"
	wantText(t, want(t, 400, b.post(backend+"/secret", "previous_until", "tomorrow")), "must be")
	secret := want(t, 200, b.post(backend+"/secret", "previous_until", "0s"))
	found := regexp.MustCompile(`<code id="secret">([^<]+)</code>`).FindStringSubmatch(secret.body)
	if found == nil {
		t.Fatalf("the page shows no secret: %s", secret.body)
	}
	token := []string{"grant_type", "client_credentials"}
	if old, new := d.Post("/token", token, testserver.AsBackend()), d.Post("/token", token, testserver.Basic("backend", found[1])); old.Status != 401 || new.Status != 200 {
		t.Errorf("the old secret: %d, the new one: %d", old.Status, new.Status)
	}

	session := d.SignIn("alice")
	d.Clock.Advance(time.Second)
	wantText(t, want(t, 200, b.get(clientsPath+"/web/suspend")), "This ends 1 live session at once.")
	want(t, 400, b.post(clientsPath+"/web/suspend", "confirm", "wrong"))
	want(t, 303, b.post(clientsPath+"/web/suspend", "confirm", "web", "reason", "a test"))
	wantText(t, want(t, 200, b.get(clientsPath+"/web")), "suspended", "Lift the suspension")
	if err := d.OAuth.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := d.Refresh("", "web", session.Text("refresh_token")); a.Status != 401 && a.Status != 400 {
		t.Errorf("a suspended client refreshes: %d", a.Status)
	}
	want(t, 303, b.post(clientsPath+"/web/resume"))
	wantText(t, want(t, 200, b.get(clientsPath+"/web")), "The suspension is lifted.", "enabled")

	wantText(t, want(t, 200, b.get(clientsPath+"/web/delete")), "Type the client's id, web")
	want(t, 400, b.post(clientsPath+"/web/delete", "confirm", "backend"))
	want(t, 303, b.post(clientsPath+"/web/delete", "confirm", "web"))
	want(t, 404, b.get(clientsPath+"/web"))
}

func TestClientsFollowTheRole(t *testing.T) {
	d := sqlite(t)
	for _, role := range []models.Role{models.RoleSupport, models.RoleViewer} {
		b := d.signedIn(t, d.keys[role])
		page := want(t, 200, b.get(clientsPath+"/web"))
		for _, hidden := range []string{"Save", "Suspend", "New secret", "Delete"} {
			if strings.Contains(page.text(), hidden) {
				t.Errorf("%s is offered %s", role, hidden)
			}
		}
		if strings.Contains(b.get(clientsPath).text(), "New client") {
			t.Errorf("%s is offered to create a client", role)
		}
		for _, path := range []string{"/new", "/web/secret", "/web/suspend", "/web/delete"} {
			want(t, 403, b.get(clientsPath+path))
		}
		for _, path := range []string{"/new", "/web", "/web/secret", "/web/suspend", "/web/resume", "/web/delete"} {
			want(t, 403, b.post(clientsPath+path, "confirm", "web", "id", "web"))
		}
	}
	acme := d.signedIn(t, d.acme)
	want(t, 200, acme.get("/console/t/acme/clients/web"))
	for _, path := range []string{"", "/web", "/web/integrate", "/new/x"} {
		want(t, 404, acme.get(clientsPath+path))
	}
	want(t, 404, acme.post(clientsPath+"/web", "name", "x"))
}

// Each piece of code is run as a reader would run it.
func TestTheCodeOfTheIntegrateTabWorks(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleViewer])
	session := d.SignInAtBackend("alice")
	// Of a client whose tokens may be for an API, whose name a shell must not read.
	web := testserver.Web()
	web.Audiences = []string{"https://api.example.com/$(echo)'"}
	d.Apply(testserver.Tenant("default", d.Issuer, web, testserver.Backend()))
	for client, wants := range map[string]map[string][]string{
		"web":     {"app-sh": {`"access_token":"eyJ`, `"refresh_token":"lk_rt_`, `"sub":"alice"`}, "app-go-txt": {"signed in: alice"}, "library-go-txt": {"valid until"}, "app-mjs": nil, "gateway-conf": nil},
		"backend": {"app-sh": {`"sub":"alice"`}, "app-go-txt": {"signed in: alice"}, "library-go-txt": {"valid until"}, "api-sh": {`"active":true`, `"token_type":"Bearer"`}, "api-go-txt": nil, "gateway-conf": nil},
	} {
		page := want(t, 200, b.get(clientsPath+"/"+client+"/integrate"))
		shown := map[string]string{}
		for _, code := range regexp.MustCompile(`(?s)<code id="code-([a-z-]+)">(.*?)</code>`).FindAllStringSubmatch(page.body, -1) {
			shown[code[1]] = html.UnescapeString(code[2])
		}
		for name, texts := range wants {
			code, ok := shown[name]
			if !ok || !strings.Contains(code, d.URL) {
				t.Errorf("%s has no code %s for %s: %s", client, name, d.URL, code)
				continue
			}
			delete(shown, name)
			cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", code)
			if strings.HasSuffix(name, "go-txt") {
				file := filepath.Join(t.TempDir(), "main.go")
				if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
					t.Fatal(err)
				}
				cmd = exec.CommandContext(t.Context(), "go", "run", file)
				if name == "api-go-txt" { // it would serve for ever
					cmd = exec.CommandContext(t.Context(), "go", "vet", file)
				}
			} else if !strings.HasSuffix(name, "-sh") {
				continue
			}
			cmd.Env = append(os.Environ(), "CLIENT_TOKEN="+d.Issuer.Token(d.URL, "alice", nil), "CLIENT_SECRET="+testserver.ClientSecret, "ACCESS_TOKEN="+session.Text("access_token"))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%s, %s: %v\n%s\n%s", client, name, err, code, out)
			}
			if token := regexp.MustCompile(`"access_token":"[^.]+\.([^.]+)\.`).FindSubmatch(out); client == "web" && token != nil {
				claims, err := base64.RawURLEncoding.DecodeString(string(token[1]))
				if err != nil || !strings.Contains(string(claims), `["`+web.Audiences[0]+`","web"]`) {
					t.Errorf("%s: the access token has %s, %v", name, claims, err)
				}
			}
			for _, text := range texts {
				if !strings.Contains(string(out), text) {
					t.Errorf("%s, %s prints no %s: %s", client, name, text, out)
				}
			}
		}
		for name := range shown {
			t.Errorf("%s: nobody tests the code %s", client, name)
		}
	}
}
