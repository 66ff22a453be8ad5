package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

// secrets maps names to texts that must not be in the log.
type secrets map[string]string

// absentFrom fails the test for each secret that a text contains, in full or in its
// significant part.
func (s secrets) absentFrom(t *testing.T, where, text string) {
	t.Helper()
	for what, secret := range s {
		parts := []string{secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret))}
		if header, rest, isJWT := strings.Cut(secret, "."); isJWT {
			payload, signature, _ := strings.Cut(rest, ".")
			parts = append(parts, header+"."+payload, payload, signature)
		}
		if handle, isHandle := strings.CutPrefix(secret, "lk_rt_"); isHandle {
			parts = append(parts, handle)
		}
		for _, part := range parts {
			if len(part) < 8 {
				t.Fatalf("%s is no secret: %q", what, secret)
			}
			if strings.Contains(text, part) {
				t.Errorf("%s holds %s", where, what)
			}
		}
	}
}

func TestTheLogOfAWholeRunContainsNoSecret(t *testing.T) {
	t.Parallel()
	const password = "the-password-of-the-database"
	address, err := url.Parse(testdb.Postgres(t))
	must(t, err)
	secret, given := address.User.Password()
	if !given { // the test database needs no password
		secret, address.User = password, url.UserPassword(address.User.Username(), password)
	}
	proxy := testdb.NewProxy(t, address.String())
	d := newRaceDeployment(t, proxy.URL())
	d.edit("metrics_listen: none", "metrics_listen: none\nlog: { level: debug }",
		"    clients:", "      - issuer: https://shared.example.com\n        token_type: jwt\n        subject_prefix: \"shared:\"\n"+
			"        algorithms: [HS256]\n        keys: { shared_secret: the-shared-secret-of-an-issuer-of-tokens }\n    clients:")
	s := d.serve()
	told := secrets{
		"the root secret": testserver.RootSecret, "the back end's secret": testserver.ClientSecret, "a wrong secret": "a-wrong-secret-for-the-back-end",
		"the database's password": secret, "the issuer's shared secret": "the-shared-secret-of-an-issuer-of-tokens",
	}

	keep := func(name string, a *response) *response {
		for _, token := range []string{"access_token", "refresh_token"} {
			if a.text(token) != "" {
				told[name+"'s "+token] = a.text(token)
			}
		}
		return a
	}
	told["a client token"] = d.clientToken("alice", nil)
	told["a client token of nobody"] = strings.Replace(d.clientToken("alice", nil), ".", ".e30", 1)
	first := keep("the exchange", s.exchange(told["a client token"]))
	for i, a := range []*response{
		s.exchange(told["a client token"]), // again
		s.exchange(told["a client token of nobody"]),
		keep("the refresh", s.refresh(first.text("refresh_token"))),
		keep("the retry", s.refresh(first.text("refresh_token"))),
		s.refresh("lk_rt_" + strings.Repeat("A", 96)),
		keep("client credentials", s.post("/token", []string{"grant_type", "client_credentials"}, basic("backend", testserver.ClientSecret))),
		s.post("/introspect", []string{"token", first.text("access_token")}, basic("backend", told["a wrong secret"])),
		s.introspect(first.text("access_token")),
		s.introspect(first.text("refresh_token")),
		s.get("/token?refresh_token=" + first.text("refresh_token")), // where no token belongs
		s.get("/"+first.text("access_token"), header("Authorization", "Bearer "+first.text("access_token"))),
		s.post("/token?client_secret="+testserver.ClientSecret, []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", first.text("refresh_token")},
			header("User-Agent", "agent"), header("Cookie", "token="+first.text("access_token"))),
		s.do(http.MethodPost, "/token", `{"refresh_token":"`+first.text("refresh_token")+`"}`, header("Content-Type", "application/json")),
		s.revoke(first.text("access_token")),
	} {
		if a.status == 0 || a.status >= 500 {
			t.Errorf("request %d: %d %s", i, a.status, a.body)
		}
	}
	proxy.Cut()
	for _, a := range []*response{s.refresh(first.text("refresh_token")), s.introspect(first.text("access_token")), s.revoke(first.text("refresh_token"))} {
		if a.status != 503 {
			t.Errorf("without its database: %d %s", a.status, a.body)
		}
		told.absentFrom(t, "an answer without the database", a.body)
	}
	s.signal(os.Interrupt)
	if code := s.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	log := s.out.String() + s.err.String()
	told.absentFrom(t, "the log", log)
	entries := 0
	for line := range strings.Lines(log) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("not JSON: %s", line)
		}
		if entry["msg"] == "request" {
			entries++
		}
	}
	if entries < 15 || !strings.Contains(log, first.text("session_id")) {
		t.Errorf("the log has %d requests, or not the id of the session:\n%s", entries, tail(log))
	}
}
