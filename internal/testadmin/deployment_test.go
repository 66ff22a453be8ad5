package testadmin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pb33f/libopenapi-validator/content"
	"go.yaml.in/yaml/v3"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

// deployment has the tenants default and acme, and admin keys of every role.
type deployment struct {
	*testserver.Deployment
	owner, admin, support, viewer string // keys for every tenant
	onlyAcme                      string // a key of the role admin for the tenant acme

	seen *coverage // nil: nobody wants to know
}

// eachDatabase runs a test on SQLite and on PostgreSQL, each time with a new
// deployment.
func eachDatabase(t *testing.T, test func(t *testing.T, d *deployment)) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) { test(t, newDeployment(t, url)) })
}

func sqlite(t *testing.T) string { return testdb.SQLite(t) }

// sameEngine returns the URL of a new database of the same engine.
func sameEngine(t *testing.T, url string) string {
	if strings.HasPrefix(url, "sqlite:") {
		return testdb.SQLite(t)
	}
	return testdb.Postgres(t)
}

// newDeployment starts a deployment, which trusts X-Forwarded-For.
func newDeployment(t *testing.T, url string) *deployment {
	t.Helper()
	d := &deployment{Deployment: testserver.NewDeployment(t, testserver.Options{DatabaseURL: url, Admin: true, AdminLocal: true, Proxies: []string{"127.0.0.1"}})}
	d.Apply(testserver.Tenant("acme", testserver.NewIssuer(t, d.Clock), testserver.Web()))
	for role, key := range map[models.Role]*string{
		models.RoleOwner: &d.owner, models.RoleAdmin: &d.admin, models.RoleSupport: &d.support, models.RoleViewer: &d.viewer,
	} {
		*key, _ = d.NewAdminKey(oauth.AdminKeySpec{Name: "the " + string(role), Role: role})
	}
	d.onlyAcme, _ = d.NewAdminKey(oauth.AdminKeySpec{Name: "acme's admin", Role: models.RoleAdmin, Tenants: []string{"acme"}})
	return d
}

// otherNode starts another node on the same database.
func (d *deployment) otherNode() *deployment {
	d.T.Helper()
	other := *d
	other.Deployment = d.Deployment.OtherNodeWith(testserver.Options{Admin: true, AdminLocal: true, Proxies: []string{"127.0.0.1"}})
	return &other
}

// reload makes the node read the configuration, which it otherwise does every few seconds.
func (d *deployment) reload(t *testing.T) {
	t.Helper()
	if err := d.OAuth.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// request collects the options of a request.
type request struct {
	header    http.Header
	host      string
	malformed bool // it is not meant to be in the document
	outside   bool // no operation of the document is meant
}

type option func(*request)

func header(name, value string) option { return func(r *request) { r.header.Set(name, value) } }

// contentType sets the media type of the body.
func contentType(kind string) option { return header("Content-Type", kind) }

// malformed marks a request that the document does not allow.
func malformed(r *request) { r.malformed = true }

// undocumented marks a request to a path or method that the document does not contain.
func undocumented(r *request) { r.malformed, r.outside = true, true }

// fromIP sets the address of the client.
func fromIP(ip string) option { return header("X-Forwarded-For", ip) }

var addresses atomic.Uint32

// fromNewIP sets an address that no other request has, so that throttling it affects no
// other request.
func fromNewIP() option {
	n := addresses.Add(1)
	return fromIP(fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255))
}

func toHost(name string) option { return func(r *request) { r.host = name } }

// call sends a request with an admin key, or without one if key is empty. The body is a
// string, or a value that becomes JSON. The request must match the document, unless it is
// malformed; the response must always match.
func (d *deployment) call(t *testing.T, key, method, path string, body any, options ...option) *testserver.Answer {
	t.Helper()
	if key != "" {
		options = append([]option{header("Authorization", "Bearer "+key)}, options...)
	}
	return d.send(t, method, "/admin/v1"+path, body, options...)
}

func (d *deployment) send(t *testing.T, method, path string, body any, options ...option) *testserver.Answer {
	t.Helper()
	text, err := textOf(body)
	if err != nil {
		t.Fatal(err)
	}
	o := request{header: http.Header{}}
	if text != nil {
		o.header.Set("Content-Type", "application/json")
		if method == http.MethodPatch {
			o.header.Set("Content-Type", "application/merge-patch+json")
		}
	}
	for _, option := range options {
		option(&o)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, d.AdminURL+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header, req.Host = o.header, o.host
	op := theDocument().find(method, req.URL)
	if strings.HasPrefix(path, "/admin/v1/openapi.") {
		o.outside, o.malformed = true, true
	}
	if op == nil && !o.outside {
		t.Fatalf("the document does not contain %s %s", method, path)
	}
	if !o.malformed {
		if err := theDocument().checkRequest(req, text); err != nil {
			t.Errorf("%s %s %s: %v", method, path, text, err)
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return &testserver.Answer{}
	}
	defer resp.Body.Close()
	a := &testserver.Answer{Status: resp.StatusCode, Header: resp.Header}
	if a.Body, err = io.ReadAll(resp.Body); err != nil {
		t.Errorf("%s %s: %v", method, path, err)
	}
	if json.Unmarshal(a.Body, &a.JSON) != nil {
		a.JSON = nil
	}
	if !o.outside {
		if err := theDocument().checkResponse(req, a.Status, a.Header, a.Body); err != nil {
			t.Errorf("%s %s: status %d %s: %v", method, path, a.Status, a.Body, err)
		}
		d.seen.add(op, text, a)
	}
	return a
}

var client = &http.Client{
	Timeout:       30 * time.Second,
	Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func textOf(body any) ([]byte, error) {
	switch body := body.(type) {
	case nil:
		return nil, nil
	case string:
		return []byte(body), nil
	case []byte:
		return body, nil
	}
	return json.Marshal(body)
}

// want requires a status.
func want(t *testing.T, status int, a *testserver.Answer) *testserver.Answer {
	t.Helper()
	if a.Status != status {
		t.Fatalf("status %d %s, want %d", a.Status, a.Body, status)
	}
	return a
}

// wantProblem requires a problem with a status and a code.
func wantProblem(t *testing.T, what string, status int, code string, a *testserver.Answer) {
	t.Helper()
	if a.Status != status || a.Text("code") != code {
		t.Errorf("%s: status %d %s, want %d %s", what, a.Status, a.Body, status, code)
	}
	if kind := a.Header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("%s: Content-Type %q", what, kind)
	}
}

// asJSON turns YAML, or JSON, into JSON with sorted keys.
func asJSON(text []byte) ([]byte, error) {
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// object is a JSON object.
type object = map[string]any

// plainText decodes the content of a stream for the validator.
var plainText = content.DecoderFunc(func(in *content.DecodeInput) (any, error) {
	text, err := io.ReadAll(in.Body)
	return string(text), err
})

// entryID returns the id of the only trusted issuer of a tenant.
func (d *deployment) entryID(tenant string) string {
	d.T.Helper()
	list, _, err := d.Store.StoredIssuers(d.T.Context(), tenant, models.Page{Limit: 10})
	if err != nil || len(list) == 0 {
		d.T.Fatal(list, err)
	}
	return list[0].Row.EntryID
}
