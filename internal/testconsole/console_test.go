// Package testconsole tests the console over HTTP, as a browser uses it.
package testconsole

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

// deployment has the tenants default and acme, and admin keys of every role.
type deployment struct {
	*testserver.Deployment
	keys map[models.Role]string
	rows map[models.Role]models.AdminKey

	acme   string             // a key of the role admin for the tenant acme
	issuer *testserver.Issuer // of the tenant acme
}

// newDeployment starts a deployment, which trusts X-Forwarded-For.
func newDeployment(t *testing.T, url string) *deployment {
	t.Helper()
	d := &deployment{
		Deployment: testserver.NewDeployment(t, testserver.Options{DatabaseURL: url, Admin: true, AdminLocal: true, Proxies: []string{"127.0.0.1"}}),
		keys:       map[models.Role]string{}, rows: map[models.Role]models.AdminKey{},
	}
	d.issuer = testserver.NewIssuer(t, d.Clock)
	d.Apply(testserver.Tenant("acme", d.issuer, testserver.Web()))
	for _, role := range []models.Role{models.RoleOwner, models.RoleAdmin, models.RoleSupport, models.RoleViewer} {
		d.keys[role], d.rows[role] = d.NewAdminKey(oauth.AdminKeySpec{Name: "the " + string(role), Role: role})
	}
	d.acme, _ = d.NewAdminKey(oauth.AdminKeySpec{Name: "acme's admin", Role: models.RoleAdmin, Tenants: []string{"acme"}})
	return d
}

func sqlite(t *testing.T) *deployment {
	t.Helper()
	t.Parallel()
	return newDeployment(t, testdb.SQLite(t))
}

func eachDatabase(t *testing.T, test func(t *testing.T, d *deployment)) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) { test(t, newDeployment(t, url)) })
}

// browser keeps cookies and sends Origin with a form. It does not follow redirects.
type browser struct {
	t      *testing.T
	d      *deployment
	client *http.Client
	ip     string
}

var addresses atomic.Uint32

// browser returns a browser at an address that no other browser has.
func (d *deployment) browser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	n := addresses.Add(1)
	return &browser{t, d, &http.Client{
		Jar: jar, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, fmt.Sprintf("10.1.%d.%d", n>>8&255, n&255)}
}

// response is a page.
type response struct {
	status int
	header http.Header
	body   string
}

type option func(*http.Request)

func header(name, value string) option { return func(r *http.Request) { r.Header.Set(name, value) } }

func without(name string) option { return func(r *http.Request) { r.Header.Del(name) } }

func (b *browser) send(method, path string, form url.Values, options ...option) *response {
	b.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.d.AdminURL+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-For", b.ip)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.d.AdminURL)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for _, o := range options {
		o(r)
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return &response{resp.StatusCode, resp.Header, string(text)}
}

func (b *browser) get(path string, options ...option) *response {
	b.t.Helper()
	return b.send(http.MethodGet, path, nil, options...)
}

var tokenField = regexp.MustCompile(`name="form_token" value="([^"]*)"`)

// token returns the anti-forgery token of a page.
func (b *browser) token(path string) string {
	b.t.Helper()
	found := tokenField.FindStringSubmatch(b.get(path).body)
	if found == nil {
		b.t.Fatalf("%s has no form", path)
	}
	return html.UnescapeString(found[1])
}

// post sends a form of pairs, with the token of a page that has a form.
func (b *browser) post(path string, pairs ...string) *response {
	b.t.Helper()
	from := "/console/tenants"
	if path == "/console/sign-in" {
		from = path
	}
	form := url.Values{"form_token": {b.token(from)}}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return b.send(http.MethodPost, path, form)
}

// signedIn returns a browser that is signed in with a key.
func (d *deployment) signedIn(t *testing.T, key string) *browser {
	t.Helper()
	b := d.browser(t)
	want(t, 303, b.post("/console/sign-in", "secret", key))
	return b
}

// link returns the code of a new sign-in link.
func (d *deployment) link(t *testing.T, key string) string {
	t.Helper()
	code, digest := d.Keys.NewConsoleLink()
	if _, err := d.Store.CreateConsoleLink(t.Context(), digest, key, models.Actor{Name: "cli", Role: models.RoleMachine}); err != nil {
		t.Fatal(err)
	}
	return code
}

func want(t *testing.T, status int, r *response) *response {
	t.Helper()
	if r.status != status {
		t.Fatalf("status %d, want %d: %s", r.status, status, r.text())
	}
	return r
}

// wantText requires a page to contain each text, as a reader sees it.
func wantText(t *testing.T, r *response, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.text(), text) {
			t.Errorf("the page does not contain %q: %s", text, r.text())
		}
	}
}

var (
	tag   = regexp.MustCompile(`<[^>]*>`)
	space = regexp.MustCompile(`\s+`)
)

// text returns what a reader sees, approximately.
func (r *response) text() string {
	return html.UnescapeString(space.ReplaceAllString(tag.ReplaceAllString(r.body, " "), " "))
}

// cookie returns a cookie that the response sets.
func (r *response) cookie(prefix string) *http.Cookie {
	for _, c := range (&http.Response{Header: r.header}).Cookies() {
		if strings.HasPrefix(c.Name, prefix) && !strings.HasPrefix(c.Name, prefix+"-form") {
			return c
		}
	}
	return nil
}
