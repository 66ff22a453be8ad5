package testattack

import (
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
)

// formRequests returns a valid request of the secret client to each endpoint, without
// credentials.
func formRequests(d *testserver.Deployment, a *testserver.Answer) map[string]url.Values {
	return map[string]url.Values{
		"/token":      {"grant_type": {"refresh_token"}, "refresh_token": {a.Text("refresh_token")}, "scope": {"profile"}},
		"/revoke":     {"token": {a.Text("refresh_token")}, "token_type_hint": {"refresh_token"}},
		"/introspect": {"token": {a.Text("access_token")}, "token_type_hint": {"access_token"}},
	}
}

func send(d *testserver.Deployment, path, body string, opts ...testserver.Option) *testserver.Answer {
	return d.Do(http.MethodPost, path, strings.NewReader(body), append([]testserver.Option{testserver.ContentType(testserver.FormType)}, opts...)...)
}

func TestADuplicateParameterIsRejectedEverywhere(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		a := d.Want(200, "", d.Post("/token", d.BackendExchangeForm("alice"), asBackend))
		before := d.Written()
		for path, form := range formRequests(d, a) {
			form.Set("client_id", "backend")
			form.Set("unknown", "x")
			for name, values := range form {
				name, value := url.QueryEscape(name), url.QueryEscape(values[0])
				for what, again := range map[string]string{
					"the same value": name + "=" + value, "another value": name + "=x", "no value": name + "=", "nothing": name,
					"another spelling of its name": "%" + strings.ToUpper(hexOf(name[0])) + name[1:] + "=" + value,
				} {
					for _, body := range []string{form.Encode() + "&" + again, again + "&" + form.Encode()} {
						if got := send(d, path, body, asBackend); got.Status != 400 || got.Error() != "invalid_request" {
							t.Errorf("%s with %s twice, with %s: %d %s", path, name, what, got.Status, got.Body)
						}
					}
				}
			}
		}
		exchange := d.BackendExchangeForm("bob")
		for _, name := range []string{"subject_token", "subject_token_type", "requested_token_type", "scope", "actor_token"} {
			d.Want(400, "invalid_request", d.Post("/token", append(exchange, name, "x", name, "x"), asBackend))
		}
		d.Want(400, "invalid_request", d.Post("/token", append(exchange, "subject_token", d.Issuer.Token(d.URL, "carol", nil)), asBackend))
		d.WantUnchanged(t, before)
		d.Want(200, "", d.Post("/token", exchange, asBackend))
	})
}

func hexOf(b byte) string { return string("0123456789abcdef"[b>>4]) + string("0123456789abcdef"[b&15]) }

func TestTwoMethodsOfClientAuthenticationAreRejectedEverywhere(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		a := d.Want(200, "", d.Post("/token", d.BackendExchangeForm("alice"), asBackend))
		before := d.Written()
		const assertion = "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=x.y.z"
		again := func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }
		for path, form := range formRequests(d, a) {
			for name, c := range map[string]struct {
				also string
				opts []testserver.Option
			}{
				"Basic and the same secret in the body": {"client_id=backend&client_secret=" + testserver.ClientSecret, []testserver.Option{asBackend}},
				"Basic and a secret without an id":      {"client_secret=" + testserver.ClientSecret, []testserver.Option{asBackend}},
				"Basic and another secret":              {"client_id=backend&client_secret=x", []testserver.Option{asBackend}},
				"Basic and another client":              {"client_id=web", []testserver.Option{asBackend}},
				"Basic and an assertion":                {assertion, []testserver.Option{asBackend}},
				"Basic and an assertion's type":         {"client_assertion_type=x", []testserver.Option{asBackend}},
				"a secret and an assertion":             {"client_id=backend&client_secret=" + testserver.ClientSecret + "&" + assertion, nil},
				"Basic twice":                           {"", []testserver.Option{asBackend, again}},
			} {
				if got := send(d, path, form.Encode()+"&"+c.also, c.opts...); got.Status != 400 || got.Error() != "invalid_request" {
					t.Errorf("%s with %s: %d %s", path, name, got.Status, got.Body)
				}
			}
		}
		d.WantUnchanged(t, before)
		d.Want(200, "", send(d, "/introspect", formRequests(d, a)["/introspect"].Encode(), asBackend))
	})
}

// endless is an endless body, which counts the bytes that were read.
type endless struct{ taken atomic.Int64 }

// Read implements io.Reader.
func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '.'
	}
	e.taken.Add(int64(len(p)))
	return len(p), nil
}

func TestManyDotsAreRejectedWithoutWork(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	asBackend := testserver.Basic("backend", testserver.ClientSecret)
	a := d.SignIn("alice")
	before := d.Written()
	megabyte, allowed := strings.Repeat(".", 1<<20), strings.Repeat(".", 16<<10)
	var start, end runtime.MemStats
	runtime.ReadMemStats(&start)
	for _, c := range []struct {
		name, path, body string
		opts             []testserver.Option
		status           int
		code             string
	}{
		{"a client token", "/token", "grant_type=" + testserver.GrantTokenExchange + "&subject_token_type=" + testserver.TypeJWT + "&subject_token=", nil, 400, "invalid_request"},
		{"an ID token", "/token", "grant_type=" + testserver.GrantTokenExchange + "&subject_token_type=" + testserver.TypeIDToken + "&subject_token=", nil, 400, "invalid_request"},
		{"a refresh token", "/token", "grant_type=refresh_token&refresh_token=", nil, 400, testserver.InvalidGrant},
		{"a refresh token with the server's prefix", "/token", "grant_type=refresh_token&refresh_token=lk_rt_", nil, 400, testserver.InvalidGrant},
		{"an assertion", "/token", "grant_type=client_credentials&client_assertion=", nil, 400, "invalid_request"},
		{"a grant", "/token", "grant_type=", nil, 400, "unsupported_grant_type"},
		{"a token to revoke", "/revoke", "token=", nil, 200, ""},
		{"a token to introspect", "/introspect", "token=", nil, 200, ""},
		{"a hint", "/introspect", "token=x&token_type_hint=", nil, 200, ""},
	} {
		if got := send(d, c.path, c.body+megabyte, asBackend); got.Status != 413 || got.Error() != "invalid_request" {
			t.Errorf("a megabyte as %s: %d %s", c.name, got.Status, got.Body)
		}
		if got := send(d, c.path, c.body+allowed, asBackend); got.Status != c.status && got.Status != 400 || got.Status == 400 && got.Error() != c.code && got.Error() != "invalid_request" {
			t.Errorf("16 KiB as %s: %d %s", c.name, got.Status, got.Body)
		}
		for _, scheme := range []string{"Bearer ", "Basic ", "DPoP ", ""} {
			if got := send(d, c.path, c.body+"x", testserver.Authorization(scheme+megabyte[:900<<10])); got.Status != 401 && got.Status != 400 {
				t.Errorf("a header beside %s: %d %s", c.name, got.Status, got.Body)
			}
		}
	}
	for _, path := range []string{"/token", "/revoke", "/introspect"} {
		for _, name := range []string{"&", "a=&", "=&", "%00=&", "a[]=1&", ";"} {
			if got := send(d, path, strings.Repeat(name, 60<<10/len(name)), asBackend); got.Status != 400 || got.Error() != "invalid_request" {
				t.Errorf("%s with many %q: %d %s", path, name, got.Status, got.Body)
			}
		}
	}
	runtime.ReadMemStats(&end)
	// The requests themselves and their copies on both ends of the connection
	// are about 100 MB; a parser that allocates for each dot takes
	// gigabytes.
	if taken := (end.TotalAlloc - start.TotalAlloc) >> 20; taken > 500 {
		t.Errorf("%d MiB were allocated", taken)
	}
	d.WantUnchanged(t, before)
	if !d.Active(a.Text("access_token")) {
		t.Error("inactive")
	}
}

func TestAnEndlessBodyIsRejected(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	before := d.Written()
	for _, path := range []string{"/token", "/revoke", "/introspect"} {
		body := &endless{}
		req, err := http.NewRequest(http.MethodPost, d.URL+path, io.MultiReader(strings.NewReader("client_id=web&token="), body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", testserver.FormType)
		resp, err := new(http.Transport).RoundTrip(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != 413 {
				t.Errorf("%s: %s", path, resp.Status)
			}
		}
		if n := body.taken.Load(); n > 16<<20 {
			t.Errorf("%s took %d bytes", path, n)
		}
	}
	d.WantUnchanged(t, before)
	d.SignIn("alice")
}
