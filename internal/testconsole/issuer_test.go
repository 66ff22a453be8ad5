package testconsole

import (
	"strings"
	"testing"

	"github.com/latchkey/latchkey/models"
)

const issuersPath = "/console/t/default/issuers"

func TestIssuersAreCreatedChangedCheckedAndDeleted(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleAdmin])
	wantText(t, want(t, 200, b.get(issuersPath)), d.Issuer.URL, "public keys in the settings")
	new := issuersPath + "/new"
	form := func(more ...string) []string {
		return append([]string{"id", "auth", "issuer", "https://auth.example.com", "token_type", "jwt", "subject_prefix", "auth:", "user_attributes", "email = token.email\nname = token.name"}, more...)
	}
	for _, c := range []struct {
		fields []string
		text   string
	}{
		{form("keys", "jwks", "key_text", "{"), "is not valid JSON"},
		{form("keys", "magic"), "must be one of the choices"},
		{form("keys", "pem", "key_text", "<script>x</script>"), "PEM"},
		{append([]string{"id", ""}, form("keys", "discovery")[2:]...), "is missing"},
		{form("keys", "shared_secret", "key_text", "short-and-secret"), "32"},
	} {
		refused := want(t, 400, b.post(new, c.fields...))
		wantText(t, refused, c.text)
		if strings.Contains(refused.body, "<script>x") || strings.Contains(refused.body, "short-and-secret") || !strings.Contains(refused.body, `value="auth:"`) {
			t.Errorf("the page is %s", refused.body)
		}
	}
	// The issuer of a tenant's own client tokens is known.
	want(t, 303, b.post(new, "id", "own", "token_type", "jwt", "subject_prefix", "own:", "keys", "internal"))
	if doc := b.get(issuersPath + "/own").document(t); doc["issuer"] != d.URL+"/client-tokens" {
		t.Errorf("the issuer of the tenant itself is %v", doc["issuer"])
	}
	want(t, 303, b.post(new, form("keys", "discovery")...))
	page := want(t, 200, b.get(issuersPath+"/auth"))
	wantText(t, page, "Keep: discovery document", "email = token.email name = token.name")
	wantText(t, want(t, 409, b.post(new, form("keys", "discovery")...)), "is the id of another trusted issuer")

	want(t, 303, b.post(issuersPath+"/auth", "version", page.version(), "issuer", "https://auth.example.com", "token_type", "jwt", "subject_prefix", "auth:", "user_attributes", "email = token.mail", "max_age", "2m", "keys", "shared_secret", "key_text", strings.Repeat("s", 32)))
	changed := want(t, 200, b.get(issuersPath+"/auth"))
	wantText(t, changed, "Keep: shared secret", "email = token.mail", `"max_age": "2m"`)
	if strings.Contains(changed.body, "token.name") || strings.Contains(changed.body, strings.Repeat("s", 32)) || strings.Contains(changed.body, "discovery&#34;: true") {
		t.Errorf("the page is %s", changed.text())
	}
	wantText(t, want(t, 412, b.post(issuersPath+"/auth", "version", page.version(), "issuer", "https://other.example.com", "token_type", "jwt")), "Nothing was changed.")
	wantText(t, want(t, 200, b.post(issuersPath+"/auth/check")), "Its tokens can be verified.")

	want(t, 303, b.post(issuersPath+"/auth/suspend", "confirm", "auth"))
	wantText(t, want(t, 200, b.get(issuersPath+"/auth")), "suspended", "Lift the suspension")
	want(t, 303, b.post(issuersPath+"/auth/resume"))
	want(t, 400, b.post(issuersPath+"/auth/delete", "confirm", "no"))
	want(t, 303, b.post(issuersPath+"/auth/delete", "confirm", "auth"))
	want(t, 404, b.get(issuersPath+"/auth"))
}

func TestIssuersFollowTheRole(t *testing.T) {
	d := sqlite(t)
	id := d.Issuer.URL[len("http://"):]
	b := d.signedIn(t, d.keys[models.RoleViewer])
	list := want(t, 200, b.get(issuersPath))
	if strings.Contains(list.text(), "Trust an issuer") || strings.Contains(list.text(), "Explain") {
		t.Errorf("a viewer sees %s", list.text())
	}
	for _, path := range []string{"/new", "/" + id + "/suspend", "/" + id + "/delete"} {
		want(t, 403, b.get(issuersPath+path))
		want(t, 403, b.post(issuersPath+path, "confirm", id, "id", "x"))
	}
	want(t, 403, b.post(issuersPath+"/x", "issuer", "https://evil.example.com"))
	want(t, 403, b.get("/console/t/default/explain"))
	want(t, 404, d.signedIn(t, d.acme).get(issuersPath))
}

func TestExplainShowsEachCheck(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		b := d.signedIn(t, d.keys[models.RoleSupport])
		path := "/console/t/default/explain"
		want(t, 200, b.get(path))
		good := d.Issuer.Token(d.URL, "alice<b>", map[string]any{"email": "alice@example.com"})
		page := want(t, 200, b.post(path, "client", "web", "token", " "+good+"\n", "type", "jwt"))
		wantText(t, page, "This token would open a session.", "Its audience passed", "User alice<b>", "One more session is allowed passed", "may not see the values")
		if strings.Contains(page.body, "alice<b>") || strings.Contains(page.body, "alice@example.com") || page.header.Get("Cache-Control") != "no-store" {
			t.Errorf("the page is %s", page.body)
		}
		if a := d.Exchange("", "web", good); a.Status != 200 {
			t.Errorf("the token was used up: %d %s", a.Status, a.Body)
		}
		refused := want(t, 200, b.post(path, "client", "web", "token", d.Issuer.Token("https://elsewhere.example.com", "alice", nil), "type", "jwt"))
		wantText(t, refused, "This token would be refused: aud does not match", "Its audience failed", "Expected "+d.URL, "Received https://elsewhere.example.com", "Its times not reached")
		wantText(t, want(t, 200, b.post(path, "client", "web", "token", "nonsense", "type", "jwt")), "It is a JWT failed")
		wantText(t, want(t, 400, b.post(path, "client", "", "token", "", "type", "jwt")), "is missing")
		admin := d.signedIn(t, d.keys[models.RoleAdmin])
		wantText(t, want(t, 200, admin.post(path, "client", "web", "token", d.Issuer.Token(d.URL, "bob", map[string]any{"email": "bob@example.com"}), "type", "jwt")), "bob@example.com")
	})
}
