package testconsole

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

// public is a server whose public listener serves the console, behind a proxy that
// terminates TLS.
type public struct {
	*testserver.Server
	owner, acme string // admin keys; acme is valid for the tenant acme only
}

const (
	publicHost   = "id.example.com"
	publicOrigin = "https://" + publicHost
	publicCookie = "__Host-latchkey-console"
)

func newPublic(t *testing.T) *public {
	t.Helper()
	t.Parallel()
	p := &public{Server: testserver.New(t, testserver.Options{DatabaseURL: testdb.SQLite(t), Issuer: publicOrigin, Proxies: []string{"127.0.0.1"}, AdminHere: true})}
	issuer, web := testserver.NewIssuer(t, p.Clock), testserver.Web()
	web.Origins = []string{"https://app.example.com"}
	p.Apply(testserver.Tenant("default", issuer, web), testserver.Tenant("acme", issuer, web))
	p.owner, _ = p.NewAdminKey(oauth.AdminKeySpec{Name: "the owner", Role: models.RoleOwner})
	p.acme, _ = p.NewAdminKey(oauth.AdminKeySpec{Name: "acme's", Role: models.RoleAdmin, Tenants: []string{"acme"}})
	return p
}

// send passes a request on as the proxy does. cookies are name=value.
func (p *public) send(method, target, cookies string, form url.Values, options ...option) *response {
	body := strings.NewReader(form.Encode())
	r := httptest.NewRequest(method, "http://"+publicHost+"/", body)
	at, err := url.ParseRequestURI(target)
	if err != nil {
		return &response{status: 400, header: http.Header{"Cache-Control": {"no-store"}}} // net/http rejects it
	}
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.RequestURI = at.Path, at.RawPath, at.RawQuery, target
	r.RemoteAddr = "127.0.0.1:4711"
	r.Header.Set("X-Forwarded-For", "203.0.113.9")
	if cookies != "" {
		r.Header.Set("Cookie", cookies)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", publicOrigin)
	}
	for _, o := range options {
		o(r)
	}
	w := httptest.NewRecorder()
	p.Handler.ServeHTTP(w, r)
	return &response{w.Code, w.Header(), w.Body.String()}
}

func (p *public) get(target, cookies string, options ...option) *response {
	return p.send(http.MethodGet, target, cookies, nil, options...)
}

// signIn sends a key from the sign-in page, and returns the response.
func (p *public) signIn(t *testing.T, key, cookies string, options ...option) *response {
	t.Helper()
	page := want(t, 200, p.get("/console/sign-in", ""))
	form := page.cookieNamed("__Host-latchkey-console-form")
	token := tokenField.FindStringSubmatch(page.body)
	if form == nil || token == nil {
		t.Fatalf("the sign-in page has no form: %v", page.header)
	}
	return p.send("POST", "/console/sign-in", strings.TrimPrefix(cookies+"; "+form.Name+"="+form.Value, "; "), url.Values{"form_token": {html.UnescapeString(token[1])}, "secret": {key}}, options...)
}

// session signs in with a key, and returns the cookie of the session.
func (p *public) session(t *testing.T, key string) string {
	t.Helper()
	c := want(t, 303, p.signIn(t, key, "")).cookieNamed(publicCookie)
	if c == nil || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" {
		t.Fatalf("the cookie is %v", c)
	}
	return c.Name + "=" + c.Value
}

func TestOnThePublicListenerAnotherHostOrOriginSendsNoForm(t *testing.T) {
	p := newPublic(t)
	cookie := p.session(t, p.owner)
	token := html.UnescapeString(tokenField.FindStringSubmatch(p.get("/console/tenants", cookie).body)[1])
	form := url.Values{"form_token": {token}}
	host := func(name string) option { return func(r *http.Request) { r.Host = name } }
	for name, options := range map[string][]option{
		"a page of a sibling domain":            {header("Origin", "https://app.example.com"), header("Sec-Fetch-Site", "same-site")},
		"the same without Sec-Fetch-Site":       {header("Origin", "https://app.example.com")},
		"the host over plain HTTP":              {header("Origin", "http://"+publicHost)},
		"another port":                          {header("Origin", publicOrigin+":8443")},
		"a sandbox":                             {header("Origin", "null")},
		"no Origin":                             {without("Origin")},
		"a proxy that forwards another Host":    {host("internal.example")},
		"a Host of this machine":                {host("localhost")},
		"both of this machine":                  {host("localhost"), header("Origin", "http://localhost")},
		"a forwarded host":                      {header("Origin", "https://evil.example"), header("X-Forwarded-Host", "evil.example"), header("Forwarded", "host=evil.example")},
		"a rebound name that sends its own":     {host("evil.example"), header("Origin", "https://evil.example"), without("Cookie")},
		"a rebound name with the plain cookies": {host("evil.example"), header("Origin", "https://evil.example"), header("Cookie", strings.TrimPrefix(cookie, "__Host-"))},
	} {
		if r := p.send("POST", "/console/sign-out", cookie, form, options...); r.status != 403 {
			t.Errorf("%s: status %d", name, r.status)
		}
		if r := p.get("/console/tenants", cookie); r.status != 200 {
			t.Fatalf("%s: the operator was signed out", name)
		}
	}
	want(t, 303, p.send("POST", "/console/sign-out", cookie, form))
	want(t, 303, p.get("/console/tenants", cookie))
}

// A page of a sibling domain can set cookies for the whole domain, without the prefix.
func TestOnThePublicListenerOnlyThePrefixedCookieCounts(t *testing.T) {
	p := newPublic(t)
	cookie := p.session(t, p.owner)
	_, handle, _ := strings.Cut(cookie, "=")
	for _, name := range []string{"latchkey-console", "latchkey-console-443", "latchkey-console-80", "latchkey-console-8080", "__Secure-latchkey-console", "__host-latchkey-console"} {
		if r := p.get("/console/tenants", name+"="+handle); r.status != 303 || r.header.Get("Location") != "/console/sign-in?next=%2Fconsole%2Ftenants" {
			t.Errorf("%s: status %d", name, r.status)
		}
	}
	// A sign-in keeps no handle that somebody has chosen, and replaces no session without
	// saying so.
	if c := want(t, 303, p.signIn(t, p.acme, publicCookie+"=chosen")).cookieNamed(publicCookie); c == nil || c.Value == "chosen" {
		t.Errorf("after the sign-in, the cookie is %v", c)
	}
	if c := want(t, 200, p.signIn(t, p.acme, cookie)).cookieNamed(publicCookie); c != nil {
		t.Errorf("the sign-in replaces a session without saying so: %v", c)
	}
	// The cookie opens nothing but the console.
	for _, path := range []string{"/admin/v1/self", "/admin/v1/tenants", "/userinfo", "/t/acme/userinfo", "/sessions", "/t/acme/sessions"} {
		if r := p.get(path, cookie); r.status != 401 && r.status != 404 && r.status != 405 {
			t.Errorf("%s with the cookie of the console: status %d", path, r.status)
		}
	}
}

func TestOnThePublicListenerNoPathLeadsAroundTheConsole(t *testing.T) {
	p := newPublic(t)
	cookie := p.session(t, p.acme)
	want(t, 200, p.get("/console/t/acme/overview", cookie))
	// A proxy may have rules for /console and /admin, and each tenant its own path.
	for _, path := range []string{
		"/t/acme/console", "/t/acme/console/sign-in", "/t/acme/console/t/acme/overview", "/t/console/overview", "/t/acme/admin/v1/self",
		"/%63onsole/sign-in", "/%63onsole/t/acme/overview", "/console%2fsign-in", "/console%2Ft%2Facme%2Foverview", "/%2fconsole/sign-in", "/Console/sign-in", "/CONSOLE/sign-in",
		"//console/sign-in", "/console//sign-in", "/./console/sign-in", "/t/../console/sign-in", "/t/acme/../../console/sign-in", "/t/acme/..%2f..%2fconsole/sign-in", "/console;a=b/sign-in", "/console./sign-in", "/console%00/sign-in",
		"/console/sign-in/", "/console/t/acme/overview/", "/console/t/acme%2f..%2fdefault/overview", "/console/t/acme/..%2fdefault%2foverview", "/console/t/default/overview", "/console/t/DEFAULT/overview", "/console/t/default%00/overview",
		"/console/static/../sign-in", "/console/static/..%2fsign-in", "/console/static/..%2f..%2f..%2fetc%2fpasswd", "/console/static/%2e%2e/templates/layout.html", "/consoles/sign-in", "/console-x",
	} {
		for _, cookies := range []string{"", cookie} {
			r := p.get(path, cookies)
			if r.status != 404 && r.status != 400 && !(cookies == "" && r.status == 303) {
				t.Errorf("%s: status %d %s", path, r.status, r.text())
			}
			if r.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: Cache-Control %q", path, r.header.Get("Cache-Control"))
			}
		}
	}
}

func TestOnThePublicListenerNoPageIsReadFramedOrCached(t *testing.T) {
	p := newPublic(t)
	cookie := p.session(t, p.owner)
	for path, status := range map[string]int{
		"/console": 303, "/console/sign-in": 200, "/console/tenants": 200, "/console/t/acme/overview": 200, "/console/t/nowhere/overview": 404, "/console/nothing": 404,
		"/console/t/acme/settings/export": 200, "/console/tenants?a=%ff": 400, "/console/sign-out": 405, "/console/t/acme/events/stream?after=x": 400,
	} {
		// The origin is one that the clients of the tenants list.
		r := p.get(path, cookie, header("Origin", "https://app.example.com"), header("Sec-Fetch-Site", "same-site"))
		if r.status != status {
			t.Errorf("%s: status %d, want %d", path, r.status, status)
		}
		h := r.header
		if !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") || h.Get("Cross-Origin-Resource-Policy") != "same-origin" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", path, h)
		}
		if h.Get("Access-Control-Allow-Origin") != "" || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s allows another origin to read it: %v", path, h)
		}
		for _, method := range []string{"POST", "PUT"} {
			r := p.send(http.MethodOptions, path, cookie, nil, header("Origin", "https://app.example.com"), header("Access-Control-Request-Method", method))
			if r.header.Get("Access-Control-Allow-Origin") != "" || r.status < 400 {
				t.Errorf("%s: a preflight for %s: status %d %v", path, method, r.status, r.header)
			}
		}
	}
}

// The clock does not advance, so that no attempt is forgiven.
func TestSignInIsThrottledByTheAddressBehindTheProxy(t *testing.T) {
	p := newPublic(t)
	from := func(forwarded string) option { return header("X-Forwarded-For", forwarded) }
	wrong := p.owner + "x"
	for i := range 10 {
		// Whoever sends the request chooses what precedes the address that the proxy adds.
		want(t, 401, p.signIn(t, wrong, "", from(fmt.Sprintf("198.51.100.%d, 203.0.113.50", i))))
	}
	want(t, 429, p.signIn(t, wrong, "", from("203.0.113.50")))
	want(t, 429, p.signIn(t, wrong, "", from("10.0.0.1, 203.0.113.50")))
	want(t, 401, p.signIn(t, wrong, "", from("203.0.113.51")))
	want(t, 303, p.signIn(t, p.owner, "", from("203.0.113.50"))) // the right key is always accepted
	for i := range 10 {                                          // an IPv6 network counts as one address
		want(t, 401, p.signIn(t, wrong, "", from(fmt.Sprintf("2001:db8::%d", i+1))))
	}
	want(t, 429, p.signIn(t, wrong, "", from("2001:db8::ffff")))
	// Without the proxy, the header is ignored.
	direct := func(r *http.Request) { r.RemoteAddr = "198.51.100.200:9" }
	for i := range 10 {
		want(t, 401, p.signIn(t, wrong, "", direct, from(fmt.Sprintf("203.0.113.%d", 100+i))))
	}
	want(t, 429, p.signIn(t, wrong, "", direct, from("203.0.113.200")))
}
