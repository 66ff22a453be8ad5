package testwire

import (
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

// minting starts a deployment whose client "backend" may mint client tokens.
func minting(t *testing.T, url string) *testserver.Deployment {
	t.Helper()
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: url})
	backend, other := testserver.Backend(), testserver.Backend()
	backend.MintClientTokens, other.ID = true, "other"
	tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), backend, other)
	tenant.TrustedIssuers = []settings.IssuerSpec{{ID: "own", IssuerSettings: settings.IssuerSettings{
		Issuer: d.URL + settings.ClientTokensPath, TokenType: settings.TokenTypeJWT, SubjectPrefix: "own:", Keys: settings.IssuerKeys{Internal: true},
	}}}
	d.Apply(tenant)
	return d
}

func mint(d *testserver.Deployment, body string, options ...testserver.Option) *testserver.Answer {
	d.T.Helper()
	if len(options) == 0 {
		options = []testserver.Option{testserver.Basic("backend", testserver.ClientSecret)}
	}
	return d.Do(http.MethodPost, "/client-tokens", strings.NewReader(body), append([]testserver.Option{testserver.ContentType("application/json")}, options...)...)
}

func TestABackEndMintsAClientToken(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		d := minting(t, url)
		a := d.Want(200, "", mint(d, `{"sub":"alice","amr":["hwk"],"claims":{"n":12345678901234567890}}`))
		if a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("Cache-Control %q", a.Header.Get("Cache-Control"))
		}
		token := a.Text("client_token")
		d.Want(200, "", d.Exchange("", "web", token))
		d.Want(400, "invalid_request", d.Exchange("", "web", token)) // once

		forOther := d.Want(200, "", mint(d, `{"sub":"alice","client_id":"other"}`)).Text("client_token")
		if a := d.Exchange("", "web", forOther); a.Status != 400 {
			t.Errorf("another client exchanges the token: %d %s", a.Status, a.Body)
		}
		d.Want(401, "invalid_client", mint(d, `{"sub":"alice"}`, testserver.Basic("backend", "a-wrong-secret-of-some-length")))
		d.Want(403, "unauthorized_client", mint(d, `{"sub":"alice"}`, testserver.Basic("other", testserver.ClientSecret)))
	})
}

func TestTheBodyOfAClientTokenIsReadStrictly(t *testing.T) {
	t.Parallel()
	d := minting(t, testdb.SQLite(t))
	before := d.Stored("events")
	for name, body := range map[string]string{
		"a repeated member":             `{"sub":"alice","sub":"mallory"}`,
		"a member repeated by escapes":  `{"sub":"alice","s\u0075b":"mallory"}`,
		"a repeated claim":              `{"sub":"alice","claims":{"role":"user","role":"admin"}}`,
		"a claim repeated deep inside":  `{"sub":"alice","claims":{"a":[{"b":1,"b":2}]}}`,
		"a member in another case":      `{"sub":"alice","SUB":"mallory"}`,
		"an unknown member":             `{"sub":"alice","role":"admin"}`,
		"two objects":                   `{"sub":"alice"}{"sub":"mallory"}`,
		"text after the object":         `{"sub":"alice"} x`,
		"a list":                        `[{"sub":"alice"}]`,
		"null":                          `null`,
		"nothing":                       ``,
		"broken UTF-8":                  "{\"sub\":\"alice\",\"claims\":{\"a\":\"\xff\"}}",
		"no sub":                        `{"amr":["pwd"]}`,
		"a number as sub":               `{"sub":7}`,
		"amr that is text":              `{"sub":"alice","amr":"pwd"}`,
		"a fraction of a second":        `{"sub":"alice","auth_time":1.5}`,
		"a sign-in of the future":       `{"sub":"alice","auth_time":99999999999}`,
		"a claim that the server makes": `{"sub":"alice","claims":{"iss":"https://evil.example"}}`,
		"a client that does not exist":  `{"sub":"alice","client_id":"nobody"}`,
	} {
		t.Run(name, func(t *testing.T) { d.Want(400, "invalid_request", mint(d, body)) })
	}
	d.Want(400, "invalid_request", d.Do(http.MethodPost, "/client-tokens", strings.NewReader(`{"sub":"alice"}`), testserver.Basic("backend", testserver.ClientSecret), testserver.ContentType("text/plain")))
	if d.Stored("events") != before {
		t.Error("a refused request has recorded an event")
	}
}
