package testwire

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
)

// secondBasic adds the correct credentials as a second header.
func secondBasic(r *http.Request) {
	r.Header.Add("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("backend:"+testserver.ClientSecret)))
}

func TestClientAuthenticationIsStrict(t *testing.T) {
	machine := "grant_type=client_credentials&token=x"
	cases := []endpointCase{
		{name: "no credentials", body: machine, status: 401, code: "invalid_client"},
		{name: "an unknown client", body: machine + "&client_id=nobody", status: 401, code: "invalid_client"},
		{name: "a secret client without its secret", body: machine + "&client_id=backend", status: 401, code: "invalid_client"},
		{name: "a wrong secret by Basic", body: machine, opts: []testserver.Option{testserver.BasicText("backend:wrong")}, status: 401, code: "invalid_client"},
		{name: "a wrong secret by post", body: machine + "&client_id=backend&client_secret=wrong", status: 401, code: "invalid_client"},
		{name: "a secret's beginning", body: machine, opts: []testserver.Option{testserver.BasicText("backend:" + testserver.ClientSecret[:39])}, status: 401, code: "invalid_client"},
		{name: "a public client with a secret", body: "token=x&grant_type=refresh_token&refresh_token=x&client_id=web&client_secret=x", status: 401, code: "invalid_client"},
		{name: "a public client with a secret by Basic", body: "token=x&grant_type=refresh_token&refresh_token=x", opts: []testserver.Option{testserver.BasicText("web:x")}, status: 401, code: "invalid_client"},
		{name: "a public client with an assertion", body: "token=x&grant_type=refresh_token&refresh_token=x&client_id=web&client_assertion=x", status: 401, code: "invalid_client"},
		{name: "a secret client with an empty secret", body: machine, opts: []testserver.Option{testserver.BasicText("backend:")}, status: 401, code: "invalid_client"},
		{name: "Basic and a secret in the body", body: machine + "&client_id=backend&client_secret=x", opts: []testserver.Option{testserver.BasicText("backend:" + testserver.ClientSecret)}, status: 400, code: "invalid_request"},
		{name: "Basic and another client_id", body: machine + "&client_id=web", opts: []testserver.Option{testserver.BasicText("backend:" + testserver.ClientSecret)}, status: 400, code: "invalid_request"},
		{name: "Basic and an assertion", body: machine + "&client_assertion=x", opts: []testserver.Option{testserver.BasicText("backend:" + testserver.ClientSecret)}, status: 400, code: "invalid_request"},
		{name: "an assertion and a secret in the body", body: machine + "&client_id=backend&client_assertion=x&client_secret=" + testserver.ClientSecret, status: 400, code: "invalid_request"},
		{name: "two Authorization headers", body: machine, opts: []testserver.Option{testserver.BasicText("backend:" + testserver.ClientSecret), secondBasic}, status: 400, code: "invalid_request"},
		{name: "an assertion", body: machine + "&client_assertion=x", status: 401, code: "invalid_client"},
		{name: "another scheme", body: machine + "&client_id=backend", opts: []testserver.Option{testserver.Authorization("Bearer x")}, status: 401, code: "invalid_client"},
		{name: "bad base64", body: machine, opts: []testserver.Option{testserver.Authorization("Basic !!!")}, status: 401, code: "invalid_client"},
		{name: "Basic without a colon", body: machine, opts: []testserver.Option{testserver.BasicText("backend")}, status: 401, code: "invalid_client"},
		{name: "a client id in capitals", body: machine, opts: []testserver.Option{testserver.BasicText("BACKEND:" + testserver.ClientSecret)}, status: 401, code: "invalid_client"},
	}
	for _, path := range []string{"/token", "/revoke", "/introspect"} {
		d := testserver.NewDeployment(t, testserver.OnSQLite(t))
		for _, c := range cases {
			c.path = path
			t.Run(c.name+" at "+path, func(t *testing.T) { rejects(d, t, c) })
		}
		for name, opt := range map[string]testserver.Option{
			"the scheme in small letters":    testserver.Authorization("basic " + base64.StdEncoding.EncodeToString([]byte("backend:"+testserver.ClientSecret))),
			"a form-encoded id":              testserver.BasicText("%62ackend:" + testserver.ClientSecret),
			"client_id beside Basic is fine": testserver.BasicText("backend:" + testserver.ClientSecret),
		} {
			t.Run(name+" at "+path, func(t *testing.T) {
				d.Want(200, "", d.Do(http.MethodPost, path, strings.NewReader(machine+"&client_id=backend"), testserver.ContentType(testserver.FormType), opt))
			})
		}
	}
}

func TestASecretIsFormEncodedInBasic(t *testing.T) {
	const secret = "a+secret with %41:colons: and 100% that must be encoded"
	client := testserver.Backend()
	client.Secret = secret
	d := testserver.NewDeployment(t, testserver.OnSQLite(t), client)
	machine := "grant_type=client_credentials"
	for name, c := range map[string]struct {
		opt    testserver.Option
		body   string
		status int
	}{
		"encoded, by Basic":         {testserver.BasicText("backend:" + url.QueryEscape(secret)), machine, 200},
		"by post":                   {testserver.ContentType(testserver.FormType), machine + "&client_id=backend&client_secret=" + url.QueryEscape(secret), 200},
		"spaces as %20":             {testserver.BasicText("backend:" + strings.ReplaceAll(url.QueryEscape(secret), "+", "%20")), machine, 200},
		"as it is":                  {testserver.BasicText("backend:" + secret), machine, 200},
		"as it is, and decodable":   {testserver.BasicText("backend:" + strings.ReplaceAll(secret, "100%", "100%25")), machine, 401},
		"encoded twice":             {testserver.BasicText("backend:" + url.QueryEscape(url.QueryEscape(secret))), machine, 401},
		"encoded twice, by post":    {testserver.ContentType(testserver.FormType), machine + "&client_id=backend&client_secret=" + url.QueryEscape(url.QueryEscape(secret)), 401},
		"encoded with small digits": {testserver.BasicText("backend:" + strings.ReplaceAll(url.QueryEscape(secret), "%3A", "%3a")), machine, 200},
	} {
		t.Run(name, func(t *testing.T) {
			if a := d.Do(http.MethodPost, "/token", strings.NewReader(c.body), testserver.ContentType(testserver.FormType), c.opt); a.Status != c.status {
				t.Errorf("status %d %s", a.Status, a.Body)
			}
		})
	}
}

func TestFailedAuthenticationsAreIndistinguishable(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		closed, closedApp := testserver.Backend(), testserver.Web()
		closed.ID, closedApp.ID = "closed", "closed-app"
		closed.Disabled, closedApp.Disabled = true, true
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(), closed, closedApp))
		for _, path := range []string{"/token", "/revoke", "/introspect"} {
			var first *testserver.Answer
			for _, c := range []struct {
				name string
				form []string
				opts []testserver.Option
			}{
				{"nobody", nil, nil},
				{"an unknown client", []string{"client_id", "nobody"}, nil},
				{"an unknown client with a secret", nil, []testserver.Option{testserver.Basic("nobody", testserver.ClientSecret)}},
				{"a wrong secret", nil, []testserver.Option{testserver.Basic("backend", "wrong")}},
				{"no secret", []string{"client_id", "backend"}, nil},
				{"a disabled client with its secret", nil, []testserver.Option{testserver.Basic("closed", testserver.ClientSecret)}},
				{"a disabled client with a wrong one", nil, []testserver.Option{testserver.Basic("closed", "wrong")}},
				{"a disabled public client", []string{"client_id", "closed-app"}, nil},
				{"a public client with a secret", []string{"client_id", "web", "client_secret", "x"}, nil},
				{"another scheme", nil, []testserver.Option{testserver.Authorization("Bearer x")}},
				{"what cannot be decoded", nil, []testserver.Option{testserver.Authorization("Basic !")}},
				{"an assertion", []string{"client_assertion", "x"}, nil},
			} {
				a := d.Want(401, "invalid_client", d.Post(path, append([]string{"grant_type", "client_credentials", "token", "x"}, c.form...), c.opts...))
				a.Header.Del("X-Request-Id")
				a.Header.Del("Date")
				if first == nil {
					first = a
				}
				if string(a.Body) != string(first.Body) || !maps.EqualFunc(a.Header, first.Header, slices.Equal) {
					t.Errorf("%s at %s: %s %v, but nobody: %s %v", c.name, path, a.Body, a.Header, first.Body, first.Header)
				}
			}
		}
	})
}

func TestASecretIsReplacedWithoutInterruption(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		const next = "the-next-client-secret-for-tests-of-50-characters"
		asks := func(secret string) *testserver.Answer {
			return d.Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("backend", secret))
		}
		client := testserver.Backend()
		client.Secret, client.PreviousSecret = next, testserver.ClientSecret
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), client))
		d.Want(200, "", asks(next))
		d.Want(200, "", asks(testserver.ClientSecret))
		client.PreviousSecret = ""
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), client))
		d.Want(200, "", asks(next))
		d.Want(401, "invalid_client", asks(testserver.ClientSecret))
	})
}
