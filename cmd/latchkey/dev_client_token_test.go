package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestDevIssuesClientTokensOnlyForThisMachine(t *testing.T) {
	t.Parallel()
	s := startDev(t, filepath.Join(t.TempDir(), "data"))
	port := s.url[strings.LastIndex(s.url, ":")+1:]
	form := header("Content-Type", "application/x-www-form-urlencoded")
	asJSON := header("Content-Type", "application/json")
	text := header("Accept", "text/plain")

	for name, c := range map[string]struct {
		body    string
		options []option
		plain   bool
	}{
		"for a form":                    {"sub=carol&amr=pwd+otp&claims={\"plan\":\"gold\"}", []option{form}, false},
		"for JSON":                      {`{"sub":"carol","amr":["pwd","otp"],"claims":{"plan":"gold"}}`, []option{asJSON}, false},
		"bare, for a form":              {"sub=carol&amr=pwd&amr=otp&claims={\"plan\":\"gold\"}", []option{form, text}, true},
		"bare, for JSON":                {`{"sub":"carol","amr":["pwd","otp"],"claims":{"plan":"gold"}}`, []option{asJSON, text}, true},
		"by its loopback address":       {"sub=carol&amr=pwd,otp&claims={\"plan\":\"gold\"}", []option{form, header("Host", "127.0.0.1:"+port)}, false},
		"for a page of the same origin": {"sub=carol&amr=pwd,otp&claims={\"plan\":\"gold\"}", []option{form, header("Origin", s.url)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.do(http.MethodPost, "/dev/client-token", c.body, c.options...)
			token := a.text("client_token")
			if c.plain {
				token = a.body
			} else if a.json["expires_in"] != float64(60) {
				t.Errorf("expires_in: %v", a.json["expires_in"])
			}
			session := s.exchangeAt("demo-web", token)
			seen := s.post("/introspect", []string{"token", session.text("access_token")}, basic("demo-api", demoSecret))
			if !seen.is(true) || seen.text("sub") != "carol" || seen.text("plan") != "gold" || !strings.Contains(seen.body, `"amr":["pwd","otp"]`) {
				t.Errorf("%d %s\nwhose session is %s", a.status, a.body, seen.body)
			}
		})
	}

	for name, c := range map[string]struct {
		options []option
		status  int
	}{
		"not by another name of this address":          {[]option{header("Host", "rebound.example.com:"+port)}, http.StatusForbidden},
		"not by another port":                          {[]option{header("Host", "localhost:1")}, http.StatusForbidden},
		"not for another page":                         {[]option{header("Origin", "https://evil.example.com")}, http.StatusForbidden},
		"not for a sandboxed page":                     {[]option{header("Origin", "null")}, http.StatusForbidden},
		"not for its own page by http on another port": {[]option{header("Origin", "http://localhost:3000")}, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.post("/dev/client-token", []string{"sub", "alice"}, c.options...)
			if a.status != c.status || strings.Contains(a.body, "client_token") || strings.Contains(a.body, "eyJ") {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

func TestDevListensOnlyOnLoopback(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{
		"every interface":             "0.0.0.0:8080",
		"every interface, implicitly": ":8080",
		"an address of a network":     "192.0.2.1:8080",
		"a name":                      "example.com:8080",
		"no port":                     "127.0.0.1",
		"any port":                    "127.0.0.1:0", // the issuer contains the port
		"no address":                  "here",
	} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "data")
			code, stdout, stderr := run(t, nil, "dev", "--data", folder, "--listen", address)
			if code != 1 || !strings.Contains(stderr, "--listen must be a loopback address with a port") {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
			if left := listing(t, filepath.Dir(folder)); left != "" {
				t.Errorf("it leaves %s", left)
			}
		})
	}
}

func TestDevSuggestsAnotherAddressIfItsOwnIsInUse(t *testing.T) {
	t.Parallel()
	first := startDev(t, filepath.Join(t.TempDir(), "data"))
	second := startDevAt(t, filepath.Join(t.TempDir(), "data"), strings.TrimPrefix(first.url, "http://"))
	if code := second.wait(); code != 1 || !strings.Contains(second.err.String(), "address already in use") ||
		!strings.Contains(second.err.String(), "to use another address: latchkey dev --listen") {
		t.Errorf("exit code %d: %s", code, second.err.String())
	}
}
