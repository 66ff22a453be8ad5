package handlers_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

func TestEveryResponseHasSecurityHeaders(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: proxy.URL()})
	session := d.SignIn("alice")
	etag := d.Get("/.well-known/jwks.json").Header.Get("ETag")
	answers := map[int]*testserver.Answer{
		200: d.Refresh("", "web", session.Text("refresh_token")),
		204: d.Do(http.MethodOptions, "/token", nil),
		304: d.Get("/.well-known/jwks.json", testserver.Header("If-None-Match", etag)),
		400: d.Refresh("", "web", "x"),
		401: d.Refresh("", "nobody", "x"),
		404: d.Get("/nothing"),
		405: d.Get("/token"),
		413: d.Post("/token", []string{"a", strings.Repeat("a", 64<<10)}),
	}
	proxy.Cut()
	d.Clock.Advance(time.Minute)
	answers[503] = d.Introspect("", "x")
	for status, a := range answers {
		if a.Status != status || a.Header.Get("X-Content-Type-Options") != "nosniff" || a.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%d, want %d: %v", a.Status, status, a.Header)
		}
		if a.Header.Get("Strict-Transport-Security") != "" {
			t.Errorf("%d: an issuer without TLS sets HSTS", status)
		}
		if status >= 400 && (a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store") {
			t.Errorf("%d: %v", status, a.Header)
		}
		for _, name := range []string{"Server", "X-Powered-By", "Set-Cookie"} {
			if a.Header.Get(name) != "" {
				t.Errorf("%d: %s %s", status, name, a.Header.Get(name))
			}
		}
	}
}

func TestAnIssuerWithTLSSetsHSTSForAYear(t *testing.T) {
	d := newDeploymentBehindTLS(t)
	for path, status := range map[string]int{"/.well-known/openid-configuration": 200, "/token": 405, "/nothing": 404, "/healthz": 200} {
		if a := d.Get(path); a.Status != status || a.Header.Get("Strict-Transport-Security") != "max-age=31536000" {
			t.Errorf("%s: %d %v", path, a.Status, a.Header)
		}
	}
}

func TestAForwardedAddressCountsOnlyFromATrustedProxy(t *testing.T) {
	for name, c := range map[string]struct {
		proxies []string
		headers []string // name, value, …
		want    string
	}{
		"no proxy is trusted":                      {nil, []string{"X-Forwarded-For", "203.0.113.7"}, "127.0.0.1"},
		"another proxy is trusted":                 {[]string{"192.0.2.0/24"}, []string{"X-Forwarded-For", "203.0.113.7"}, "127.0.0.1"},
		"this proxy is trusted":                    {[]string{"127.0.0.0/8"}, []string{"X-Forwarded-For", "203.0.113.7"}, "203.0.113.7"},
		"an address that the sender put before it": {[]string{"127.0.0.1"}, []string{"X-Forwarded-For", "198.51.100.1, 203.0.113.7"}, "203.0.113.7"},
		"two proxies that are trusted":             {[]string{"127.0.0.1", "192.0.2.1"}, []string{"X-Forwarded-For", "198.51.100.1, 203.0.113.7, 192.0.2.1"}, "203.0.113.7"},
		"a value that is not an address":           {[]string{"127.0.0.1"}, []string{"X-Forwarded-For", "evil"}, "127.0.0.1"},
		"headers that this proxy does not write":   {[]string{"127.0.0.1"}, []string{"X-Real-IP", "203.0.113.7", "Forwarded", "for=203.0.113.7", "CF-Connecting-IP", "203.0.113.7", "True-Client-IP", "203.0.113.7"}, "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			o := testserver.OnSQLite(t)
			o.Proxies = c.proxies
			d := testserver.NewDeployment(t, o)
			a := d.Want(200, "", d.Post("/token", []string{
				"grant_type", testserver.GrantTokenExchange, "client_id", "web", "subject_token_type", testserver.TypeJWT, "subject_token", d.Issuer.Token(d.URL, "alice", nil),
			}, func(r *http.Request) {
				for i := 0; i < len(c.headers); i += 2 {
					r.Header.Set(c.headers[i], c.headers[i+1])
				}
			}))
			if ip := d.SessionRow("default", a.Text("session_id")).IP; ip != c.want {
				t.Errorf("the session has IP address %q, want %q", ip, c.want)
			}
			if log := d.Log.String(); !strings.Contains(log, `"ip":"`+c.want+`"`) {
				t.Errorf("the log does not contain %s:\n%s", c.want, log)
			}
		})
	}
}

func TestNoOtherGrantOrEndpointExists(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	for _, grant := range []string{
		"password", "implicit", "authorization_code", "urn:ietf:params:oauth:grant-type:device_code", "urn:openid:params:grant-type:ciba",
		"urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:saml2-bearer", "none", "token", "exchange", "refresh", "client-credentials",
	} {
		form := []string{"grant_type", grant, "username", "alice", "password", "x", "code", "x", "code_verifier", "x", "assertion", "x", "device_code", "x", "scope", "profile"}
		d.Want(400, "unsupported_grant_type", d.Post("/token", append(form, "client_id", "web")))
		d.Want(400, "unsupported_grant_type", d.Post("/token", form, testserver.AsBackend()))
	}
	for _, path := range []string{"/authorize?response_type=token&client_id=web&redirect_uri=https://app.example.com", "/authorize?response_type=code&client_id=web", "/oauth/token", "/oauth2/auth", "/par", "/register", "/device_authorization", "/dev/client-token"} {
		d.Want(404, "not_found", d.Get(path))
		d.Want(404, "not_found", d.Post(path, []string{"client_id", "web"}))
	}
}
