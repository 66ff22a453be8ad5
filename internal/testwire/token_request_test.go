package testwire

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
)

// machineForm is a complete client-credentials request of the client backend.
const machineForm = "grant_type=client_credentials&client_id=backend&client_secret=" + testserver.ClientSecret

func TestTokenEndpointAcceptsOnlyPOST(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	d.Apply(testserver.Tenant("acme", testserver.NewIssuer(t, d.Clock), testserver.Web()))
	for _, path := range []string{"/token", "/t/acme/token"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "post"} {
			t.Run(method+" "+path, func(t *testing.T) {
				a := d.Do(method, path, strings.NewReader(machineForm), testserver.ContentType(testserver.FormType))
				if a.Status != 405 || a.Header.Get("Allow") != "POST, OPTIONS" || a.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%d %v", a.Status, a.Header)
				}
				if method != "HEAD" && (a.Error() != "invalid_request" || a.Header.Get("Content-Type") != "application/json") {
					t.Errorf("%s %v", a.Body, a.Header)
				}
			})
		}
	}
	d.Want(405, "invalid_request", d.Get("/token?grant_type=refresh_token&client_id=web&refresh_token=x"))
}

func TestTokenEndpointAcceptsOnlyForms(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	for value, status := range map[string]int{
		testserver.FormType:                         200,
		testserver.FormType + "; charset=utf-8":     200,
		testserver.FormType + ";charset=ISO-8859-1": 200,
		"Application/X-WWW-Form-URLencoded":         200,
		"":                                          400,
		"application/json":                          400,
		"text/plain":                                400,
		"multipart/form-data; boundary=x":           400,
		"application/x-www-form-urlencoded2":        400,
		"application/json, " + testserver.FormType:  400,
		"application/json; type=\"" + testserver.FormType + "\"": 400,
	} {
		t.Run(value, func(t *testing.T) {
			a := d.Do(http.MethodPost, "/token", strings.NewReader(machineForm), testserver.ContentType(value))
			if a.Status != status || status == 400 && a.Error() != "invalid_request" {
				t.Errorf("status %d %s, want %d", a.Status, a.Body, status)
			}
		})
	}
	t.Run("a JSON object", func(t *testing.T) {
		body := fmt.Sprintf(`{"grant_type":"client_credentials","client_id":"backend","client_secret":%q}`, testserver.ClientSecret)
		for _, value := range []string{"application/json", testserver.FormType} {
			d.Want(400, "invalid_request", d.Do(http.MethodPost, "/token", strings.NewReader(body), testserver.ContentType(value)))
		}
	})
}

func TestAParameterWithoutAValueIsAbsent(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	for _, name := range []string{
		"actor_token", "actor_token_type", "requested_token_type", "scope", "resource", "audience", "client_secret", "client_assertion",
		"latchkey_session_token", "acr_values", "max_age", "latchkey_device_name", "made-up",
	} {
		t.Run(name, func(t *testing.T) {
			a := d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", nil), name, "")
			if a.Status != 200 || a.Text("scope") != "profile orders:read" || testserver.Claims(t, a)["aud"] != "web" {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
	d.Want(401, "invalid_client", d.Post("/token", []string{"grant_type", "client_credentials", "client_id", ""}))
}

func TestNoCredentialIsReadFromAURL(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	for _, path := range []string{"/token", "/revoke", "/introspect"} {
		for _, name := range []string{
			"client_id", "client_secret", "client_assertion", "assertion", "password", "code", "token", "access_token", "refresh_token",
			"subject_token", "actor_token", "latchkey_session_token",
		} {
			encoded := fmt.Sprintf("%%%02X", name[0]) + name[1:]
			for _, query := range []string{name + "=a-value-of-the-url", encoded + "=a-value-of-the-url", name} {
				t.Run(path+"?"+query, func(t *testing.T) {
					a := d.Do(http.MethodPost, path+"?"+query, strings.NewReader(machineForm+"&token=x"), testserver.ContentType(testserver.FormType))
					if a.Status != 400 || a.Error() != "invalid_request" {
						t.Errorf("status %d %s", a.Status, a.Body)
					}
				})
			}
		}
		d.Want(200, "", d.Do(http.MethodPost, path+"?ui_locales=fr", strings.NewReader(machineForm+"&token=x"), testserver.ContentType(testserver.FormType)))
	}
	if log := d.Log.String(); strings.Contains(log, "a-value-of-the-url") {
		t.Errorf("the log holds it:\n%s", log)
	}
}

func TestErrorsQuoteNothingFromTheRequest(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	const marker = "zqx9"
	withMarker := func(form ...string) func(name string) []string {
		return func(name string) []string {
			for i := 0; i < len(form); i += 2 {
				if form[i] == name {
					form := append([]string(nil), form...)
					form[i+1] = marker
					return form
				}
			}
			return append([]string{name, marker}, form...)
		}
	}
	exchange := withMarker("grant_type", testserver.GrantTokenExchange, "client_id", "web", "subject_token_type", testserver.TypeJWT, "subject_token", "a.b.c")
	refresh := withMarker("grant_type", "refresh_token", "client_id", "web", "refresh_token", d.SignIn("alice").Text("refresh_token"))
	var requests [][]string
	for _, name := range []string{"grant_type", "client_id", "client_secret", "client_assertion", "subject_token", "subject_token_type", "actor_token", "requested_token_type", "acr_values", marker} {
		requests = append(requests, exchange(name))
	}
	for _, name := range []string{"refresh_token", "scope", "resource", "audience"} {
		requests = append(requests, refresh(name))
	}
	good := []string{"grant_type", testserver.GrantTokenExchange, "client_id", "web", "subject_token_type", testserver.TypeJWT, "subject_token"}
	for _, extra := range [][]string{{"scope", marker}, {"scope", marker + `"\`}, {"resource", "https://" + marker}, {"audience", marker}, {"resource", marker + "\r\nX: 1"}} {
		requests = append(requests, append(append([]string(nil), append(good, d.Issuer.Token(d.URL, "alice", nil))...), extra...))
	}
	for _, over := range []map[string]any{{"iss": marker}, {"aud": marker}, {"sub": marker + "é"}, {"client_id": marker}, {"amr": marker}} {
		requests = append(requests, append(append([]string(nil), good...), d.Issuer.Token(d.URL, "alice", over)))
	}
	for _, form := range requests {
		a := d.Post("/token", form)
		if a.Status != 400 && a.Status != 401 {
			t.Errorf("%q returned status %d %s", form, a.Status, a.Body)
		}
		if whole := fmt.Sprint(string(a.Body), a.Header); strings.Contains(whole, marker) {
			t.Errorf("%q is repeated: %s", form, whole)
		}
		for _, member := range []string{"error", "error_description"} {
			if text := a.Text(member); text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }) {
				t.Errorf("%s is %q", member, text)
			}
		}
	}
}

func TestClientsBelongToOneTenant(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		theirs := testserver.Backend()
		theirs.Secret = "another-secret-for-another-tenant-of-tests"
		only := testserver.APIClient()
		only.Grants = []string{"client-credentials"}
		d.Apply(testserver.Tenant("acme", testserver.NewIssuer(t, d.Clock), theirs, only))
		asks := func(base, id, secret string) *testserver.Answer {
			return d.Post(base+"/token", []string{"grant_type", "client_credentials"}, testserver.Basic(id, secret))
		}
		d.Want(200, "", asks("/t/acme", "api", only.Secret))
		d.Want(401, "invalid_client", asks("", "api", only.Secret))
		d.Want(200, "", asks("", "backend", testserver.ClientSecret))
		d.Want(200, "", asks("/t/acme", "backend", theirs.Secret))
		for base, secret := range map[string]string{"/t/acme": testserver.ClientSecret, "": theirs.Secret} {
			a := d.Want(401, "invalid_client", asks(base, "backend", secret))
			if got, want := a.Header.Get("WWW-Authenticate"), `Basic realm="`+d.URL+base+`"`; got != want {
				t.Errorf("challenged by %s, want %s", got, want)
			}
		}
	})
}
