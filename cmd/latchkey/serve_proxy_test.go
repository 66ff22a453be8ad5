package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

func TestAnIssuerMayHaveAPath(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	const issuer = baseIssuer + "/auth"
	d.edit("issuer: "+baseIssuer+"\n", "issuer: "+issuer+"\n", "        auth: none\n", "        auth: none\n        origins: [https://app.example.com]\n")
	d.write("latchkey.yaml", d.text()+"  - id: acme\n    signing_algorithm: ES256\n")
	s := d.serve()
	for path, want := range map[string]string{
		"/auth/.well-known/openid-configuration":                    issuer,
		"/auth/.well-known/oauth-authorization-server":              issuer,
		"/.well-known/oauth-authorization-server/auth":              issuer,
		"/.well-known/openid-configuration/auth":                    issuer,
		"/auth/t/acme/.well-known/openid-configuration":             issuer + "/t/acme",
		"/.well-known/oauth-authorization-server/auth/t/acme":       issuer + "/t/acme",
		"/.well-known/openid-configuration/auth/t/acme":             issuer + "/t/acme",
		"/.well-known/openid-configuration":                         "",
		"/.well-known/oauth-authorization-server":                   "",
		"/t/acme/.well-known/openid-configuration":                  "",
		"/authx/.well-known/openid-configuration":                   "",
		"/.well-known/openid-configuration/t/acme":                  "",
		"/auth/.well-known/oauth-authorization-server/t/acme":       "",
		"/auth/auth/.well-known/oauth-authorization-server/t/acme/": "",
	} {
		a := s.get(path)
		if want == "" && a.status != 404 || want != "" && (a.status != 200 || a.text("issuer") != want ||
			a.text("token_endpoint") != want+"/token" || a.text("jwks_uri") != want+"/.well-known/jwks.json") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	now := *d.issuer
	now.Clock = testserver.NewClock()
	a := s.post("/auth/token", []string{
		"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange", "client_id", "web",
		"subject_token_type", "urn:ietf:params:oauth:token-type:jwt", "subject_token", now.Token(issuer, "alice", nil),
	}, header("Origin", "https://app.example.com"))
	if a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" {
		t.Fatalf("exchange: %d %s %v", a.status, a.body, a.header)
	}
	preflight := s.do(http.MethodOptions, "/auth/token", "", header("Origin", "https://app.example.com"))
	wrong := s.get("/auth/token", header("Origin", "https://app.example.com")) // handled before OAuth
	for name, a := range map[string]*response{"a preflight": preflight, "a wrong method": wrong} {
		if a.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" {
			t.Errorf("%s may not be read: %d %v", name, a.status, a.header)
		}
	}
	if me := s.get("/auth/session", header("Authorization", "Bearer "+a.text("access_token"))); me.status != 200 {
		t.Errorf("the session: %d %s", me.status, me.body)
	}
}

func TestHTTP2WithoutTLSIsServedOnlyBehindAProxy(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Timeout: waitTimeout, Transport: &http.Transport{Protocols: protocols}}
	s := d.serve()
	if resp, err := client.Get(s.url + "/healthz"); err == nil {
		resp.Body.Close()
		t.Errorf("without a proxy it answers %s by %s", resp.Status, resp.Proto)
	}
	d.edit("metrics_listen: none", "metrics_listen: none\nbehind_proxy: true")
	s = d.serve()
	resp, err := client.Get(s.url + "/healthz")
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 {
		t.Errorf("%s by %s", resp.Status, resp.Proto)
	}
	if a := s.get("/healthz"); a.status != 200 { // HTTP/1.1 goes on
		t.Errorf("HTTP/1.1: %d", a.status)
	}
}

// The proxy of the test forwards nothing: the requests that it receives are enough.
func TestKeysAreFetchedOnlyThroughTheConfiguredProxy(t *testing.T) {
	t.Parallel()
	var asked atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.Host)
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()
	d := newDeployment(t, testdb.SQLite(t))
	d.edit("metrics_listen: none", "metrics_listen: none\nfetch: { proxy: \""+proxy.URL+"\" }")
	d.edit("      - issuer: "+d.issuer.URL, "      - issuer: https://keys.example.com\n        token_type: jwt\n        algorithms: [ES256]\n"+
		"        keys: { discovery: true }\n        subject_prefix: \"far:\"\n      - issuer: "+d.issuer.URL)
	s := d.serve()
	d.signIn(s, "alice") // the issuer has a private address, so the proxy is not used
	if got := asked.Load(); got != nil && strings.Contains(got.(string), "127.0.0.1") {
		t.Errorf("the proxy was asked for %v", got)
	}
	far := *d.issuer
	far.Clock = testserver.NewClock()
	far.URL = "https://keys.example.com"
	if a := s.exchange(far.Token(baseIssuer, "bob", nil)); a.status != 503 {
		t.Errorf("without keys: %d %s", a.status, a.body)
	}
	if got := asked.Load(); got != "CONNECT keys.example.com:443" {
		t.Errorf("the proxy was asked for %v", got)
	}
}
