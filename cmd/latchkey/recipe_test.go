package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

// recipe returns the YAML below a heading of docs/configuration.md, with texts replaced
// as pairs of old, new. Each old text must occur.
func recipe(t *testing.T, heading string, oldNew ...string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/configuration.md")
	must(t, err)
	_, section, found := strings.Cut(string(page), "\n### "+heading+"\n")
	_, rest, hasBlock := strings.Cut(section, "```yaml\n")
	block, _, _ := strings.Cut(rest, "```")
	if !found || !hasBlock {
		t.Fatalf("docs/configuration.md has no YAML below %q", heading)
	}
	for i := 0; i < len(oldNew); i += 2 {
		if !strings.Contains(block, oldNew[i]) {
			t.Fatalf("the recipe has no %q:\n%s", oldNew[i], block)
		}
	}
	return strings.NewReplacer(oldNew...).Replace(block)
}

func TestTheRecipeForTwoServicesOfOneUserWorksAsWritten(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	const google = "1234.apps.googleusercontent.com"
	secret := strings.Repeat("c", 40)
	d.write("codes-secret", secret)
	head, _, _ := strings.Cut(d.text(), "tenants:\n")
	d.write("latchkey.yaml", head+recipe(t, "Two authentication services for one user",
		"https://accounts.google.com", d.issuer.URL, "keys: { discovery: true }", "keys: { discovery: true }\n        algorithms: [ES256]\n        allow_private_addresses: true"))
	s := d.serve()
	now := *d.issuer
	now.Clock = testserver.NewClock()
	exchange := func(kind, token, session string) *response {
		return s.post("/token", []string{"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange", "client_id", "web",
			"subject_token_type", "urn:ietf:params:oauth:token-type:" + kind, "subject_token", token, "latchkey_session_token", session})
	}
	code := func(sub string) string {
		claims, err := json.Marshal(map[string]any{"iss": "https://codes.example.com", "aud": baseIssuer, "sub": sub, "jti": sub + time.Now().String(),
			"iat": time.Now().Unix(), "exp": time.Now().Unix() + 60, "amr": []string{"otp"}})
		must(t, err)
		return testserver.Forge(`{"alg":"HS256","typ":"JWT"}`, string(claims), testserver.HS256([]byte(secret)))
	}
	signIn := exchange("id_token", now.Token(google, "10769150350006150715113082367", nil), "")
	claims := func(a *response) map[string]any { return testserver.JWTPart(t, a.text("access_token"), 1) }
	if signIn.status != 200 || claims(signIn)["acr"] != "urn:example:signed-in" {
		t.Fatalf("sign in: %d %s", signIn.status, signIn.body)
	}
	sub := claims(signIn)["sub"].(string)
	other := exchange("jwt", code("somebody-else"), signIn.text("refresh_token"))
	if other.status != 400 || other.text("latchkey_reason") == "" {
		t.Errorf("a code of another user: %d %s", other.status, other.body)
	}
	raised := exchange("jwt", code(sub), signIn.text("refresh_token"))
	if raised.status != 200 || raised.text("session_id") != signIn.text("session_id") || claims(raised)["acr"] != "urn:example:confirmed" {
		t.Errorf("step-up: %d %s", raised.status, raised.body)
	}
}

// Providers differ in the type of email_verified.
func TestTheRuleForVerifiedAddressesAcceptsBothTypes(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/configuration.md")
	must(t, err)
	const rule = `string(token.?email_verified.orValue(false)) == 'true'`
	if !strings.Contains(string(page), rule) {
		t.Fatalf("docs/configuration.md has no rule %s", rule)
	}
	d := newDeployment(t, testdb.SQLite(t))
	d.edit("        auth: none\n", "        auth: none\n        allow: \""+rule+"\"\n")
	s := d.serve()
	for _, c := range []struct {
		claims  map[string]any
		allowed bool
	}{
		{map[string]any{"email_verified": true}, true},
		{map[string]any{"email_verified": "true"}, true},
		{map[string]any{"email_verified": false}, false},
		{map[string]any{"email_verified": "false"}, false},
		{map[string]any{"email_verified": nil}, false},
		{map[string]any{"email_verified": 1}, false},
		{nil, false},
	} {
		if a := s.exchange(d.clientToken("alice", c.claims)); (a.status == 200) != c.allowed {
			t.Errorf("%v: %d %s", c.claims, a.status, a.body)
		}
	}
}

func TestSessionsSurviveAMoveToAnotherHost(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	const moved = "http://127.0.0.1:8080"
	d.edit("        user_attributes", "        audiences: [\""+baseIssuer+"\", \""+moved+"\"]\n        user_attributes")
	before := d.serve()
	session := d.signIn(before, "alice")
	before.signal(os.Interrupt)
	before.wait()

	d.edit("issuer: "+baseIssuer+"\n", "issuer: "+moved+"\n")
	s := d.serve()
	if a := s.revoke(session.text("access_token")); a.status != 200 {
		t.Errorf("an access token of the old host at /revoke: %d %s", a.status, a.body)
	}
	if a := s.introspect(session.text("access_token")); !a.is(false) {
		t.Errorf("an access token of the old host is %d %s", a.status, a.body)
	}
	if a := s.get("/session", header("Authorization", "Bearer "+session.text("access_token"))); a.status != 401 {
		t.Errorf("an access token of the old host at /session: %d %s", a.status, a.body)
	}
	refreshed := s.refresh(session.text("refresh_token"))
	if refreshed.status != 200 || testserver.JWTPart(t, refreshed.text("access_token"), 1)["iss"] != moved {
		t.Fatalf("the session has ended: %d %s", refreshed.status, refreshed.body)
	}
	d.signIn(s, "bob") // with a client token for the old host
	if a := s.revoke(refreshed.text("refresh_token")); a.status != 200 {
		t.Errorf("sign out: %d %s", a.status, a.body)
	}
	if a := s.refresh(refreshed.text("refresh_token")); a.status != 400 {
		t.Errorf("after the sign-out: %d %s", a.status, a.body)
	}
}
