package testconsole

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

var testserverOptions = testserver.Options{Admin: true, Proxies: []string{"127.0.0.1"}}

// cookieNamed returns a cookie that the response sets.
func (r *response) cookieNamed(name string) *http.Cookie {
	for _, c := range (&http.Response{Header: r.header}).Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// handle returns the handle of the browser's session.
func (b *browser) handle() string {
	u, _ := url.Parse(b.d.AdminURL)
	for _, c := range b.client.Jar.Cookies(u) {
		if strings.HasPrefix(c.Name, "latchkey-console-") && !strings.HasPrefix(c.Name, "latchkey-console-form") {
			return c.Value
		}
	}
	return ""
}

func TestAFormOfAnotherOriginIsRejected(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleOwner])
	other := d.signedIn(t, d.keys[models.RoleOwner])
	good, foreign := url.Values{"form_token": {b.token("/console/tenants")}}, url.Values{"form_token": {other.token("/console/tenants")}}
	for name, c := range map[string]struct {
		status  int
		form    url.Values
		options []option
	}{
		"another origin":          {403, good, []option{header("Origin", "https://evil.example")}},
		"Origin null":             {403, good, []option{header("Origin", "null")}},
		"no Origin":               {403, good, []option{without("Origin")}},
		"no Origin, a Referer":    {403, good, []option{without("Origin"), header("Referer", d.AdminURL+"/console")}},
		"two Origins":             {403, good, []option{func(r *http.Request) { r.Header.Add("Origin", "https://evil.example") }}},
		"another port":            {403, good, []option{header("Origin", "http://127.0.0.1:1")}},
		"another scheme":          {403, good, []option{header("Origin", strings.Replace(d.AdminURL, "http:", "https:", 1))}},
		"Sec-Fetch-Site":          {403, good, []option{header("Sec-Fetch-Site", "same-site")}},
		"cross-site, own Origin":  {403, good, []option{header("Sec-Fetch-Site", "cross-site")}},
		"no token":                {403, url.Values{}, nil},
		"another session's token": {403, foreign, nil},
		"text/plain":              {415, good, []option{header("Content-Type", "text/plain")}},
		"multipart":               {415, good, []option{header("Content-Type", "multipart/form-data; boundary=x")}},
		"a large body":            {413, url.Values{"form_token": good["form_token"], "x": {strings.Repeat("x", 300<<10)}}, nil},
		"NUL":                     {400, url.Values{"form_token": good["form_token"], "x": {"a\x00b"}}, nil},
		"no UTF-8":                {400, url.Values{"form_token": good["form_token"], "x": {"a\xffb"}}, nil},
	} {
		if r := b.send("POST", "/console/sign-out", c.form, c.options...); r.status != c.status {
			t.Errorf("%s: status %d, want %d", name, r.status, c.status)
		}
		if r := b.get("/console/tenants"); r.status != 200 {
			t.Fatalf("%s: the browser was signed out", name)
		}
	}
	// The sign-in form is protected likewise, so that nobody can sign a browser in with
	// a key of their own.
	fresh := d.browser(t)
	signIn := url.Values{"form_token": {fresh.token("/console/sign-in")}, "secret": {d.keys[models.RoleViewer]}}
	for name, o := range map[string]option{
		"another origin": header("Origin", "https://evil.example"), "Origin null": header("Origin", "null"), "no Origin": without("Origin"),
		"no cookie": header("Cookie", "x=y"),
	} {
		client := fresh
		if name == "no cookie" {
			client = d.browser(t)
		}
		if r := client.send("POST", "/console/sign-in", signIn, o); r.status != 403 || r.cookie("latchkey-console") != nil {
			t.Errorf("sign-in, %s: status %d", name, r.status)
		}
	}
	want(t, 303, b.send("POST", "/console/sign-out", good))
}

func TestAnAddressThatNoDatabaseCanStoreIsRejected(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		b := d.signedIn(t, d.keys[models.RoleOwner])
		token := b.token("/console/tenants")
		const tenant = "/console/t/default"
		for _, path := range []string{
			"/console/tenants?q=%00", tenant + "/sessions?user=%ff", tenant + "/sessions?user=%zz", tenant + "/sessions?user=a;client=b", tenant + "/sessions?%00=x",
			tenant + "/users/show?sub=%00", tenant + "/clients/%ff", tenant + "/clients/a%00", tenant + "/settings/admin-keys/%00", tenant + "/events/stream?user=%00", "/console/sign-in?next=%00",
		} {
			if r := b.get(path); r.status != 400 {
				t.Errorf("GET %s: status %d, want 400", path, r.status)
			}
		}
		for _, path := range []string{"/users/show?sub=%00", "/users/resume?sub=%ff", "/sessions/export?user=%zz", "/settings/admin-keys/%ff"} {
			if r := b.send("POST", tenant+path, url.Values{"form_token": {token}}); r.status != 400 {
				t.Errorf("POST %s: status %d, want 400", path, r.status)
			}
		}
		want(t, 200, b.get(tenant+"/sessions?user=%C3%A9+%3B"))
	})
}

func TestEveryPageHasTheSecurityHeaders(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleOwner])
	for _, path := range []string{"/console", "/console/tenants", "/console/sign-in", "/console/nowhere", "/console/t/nowhere", "/console/static/nowhere.css"} {
		r := b.get(path)
		for name, value := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"Referrer-Policy":         "same-origin", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := r.header.Get(name); got != value {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		if strings.Contains(r.body, "style=") || strings.Contains(r.body, " on") && strings.Contains(r.body, " onclick=") {
			t.Errorf("%s has inline style or script", path)
		}
		if got := r.header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s may be read by %s", path, got)
		}
	}
}

func TestStaticFilesAreKeptByTheirVersion(t *testing.T) {
	d := sqlite(t)
	b := d.browser(t)
	page := b.get("/console/sign-in")
	at := strings.Index(page.body, "/console/static/console.css?v=")
	path := page.body[at:][:strings.IndexByte(page.body[at:], '"')]
	r := want(t, 200, b.get(path))
	if got := r.header.Get("Cache-Control"); !strings.Contains(got, "immutable") {
		t.Errorf("Cache-Control is %q", got)
	}
	if got := r.header.Get("Content-Type"); got != "text/css; charset=utf-8" {
		t.Errorf("Content-Type is %q", got)
	}
	want(t, 304, b.get("/console/static/console.css", header("If-None-Match", r.header.Get("ETag"))))
	if got := b.get("/console/static/console.css?v=old").header.Get("Cache-Control"); got != "no-cache" {
		t.Errorf("an old version has Cache-Control %q", got)
	}
}

func TestAForeignHostIsRejected(t *testing.T) {
	d := sqlite(t)
	b := d.browser(t)
	want(t, 403, b.get("/console/sign-in", func(r *http.Request) { r.Host = "rebound.example" }))
	want(t, 403, b.get("/console/static/console.css", func(r *http.Request) { r.Host = "rebound.example" }))
}

func TestATenantOfAnotherKeyIsNotFound(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.acme)
	page := want(t, 200, b.get("/console/tenants"))
	if strings.Contains(page.text(), "default") {
		t.Error("the list contains a tenant that the key is not valid for")
	}
}
