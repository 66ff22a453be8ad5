package handlers_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
)

// machineForm is a whole request of the client backend for itself, which needs
// nothing else than its secret.
const machineForm = "grant_type=client_credentials&client_id=backend&client_secret=" + testserver.ClientSecret

func TestTokenEndpointTakesOnlyPOST(t *testing.T) {
	w := newWorld(t, sqlite(t))
	w.Apply(testserver.Tenant("acme", testserver.NewIssuer(t, w.Clock), testserver.Web()))
	for _, path := range []string{"/token", "/t/acme/token"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "post"} {
			t.Run(method+" "+path, func(t *testing.T) {
				a := w.Do(method, path, strings.NewReader(machineForm), contentType(formType))
				if a.Status != 405 || a.Header.Get("Allow") != "POST, OPTIONS" || a.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%d %v", a.Status, a.Header)
				}
				if method != "HEAD" && (a.Error() != "invalid_request" || a.Header.Get("Content-Type") != "application/json") {
					t.Errorf("%s %v", a.Body, a.Header)
				}
			})
		}
	}
	w.want(405, "invalid_request", w.Get("/token?grant_type=refresh_token&client_id=web&refresh_token=x"))
}

func TestTokenEndpointTakesOnlyForms(t *testing.T) {
	w := newWorld(t, sqlite(t))
	for value, status := range map[string]int{
		formType:                                      200,
		formType + "; charset=utf-8":                  200,
		formType + ";charset=ISO-8859-1":              200,
		"Application/X-WWW-Form-URLencoded":           200,
		"":                                            400,
		"application/json":                            400,
		"text/plain":                                  400,
		"multipart/form-data; boundary=x":             400,
		"application/x-www-form-urlencoded2":          400,
		"application/json, " + formType:               400,
		"application/json; type=\"" + formType + "\"": 400,
	} {
		t.Run(value, func(t *testing.T) {
			a := w.Do(http.MethodPost, "/token", strings.NewReader(machineForm), contentType(value))
			if a.Status != status || status == 400 && a.Error() != "invalid_request" {
				t.Errorf("answered %d %s, want %d", a.Status, a.Body, status)
			}
		})
	}
	t.Run("a JSON object", func(t *testing.T) {
		body := fmt.Sprintf(`{"grant_type":"client_credentials","client_id":"backend","client_secret":%q}`, testserver.ClientSecret)
		for _, value := range []string{"application/json", formType} {
			w.want(400, "invalid_request", w.Do(http.MethodPost, "/token", strings.NewReader(body), contentType(value)))
		}
	})
}

func TestAParameterWithoutAValueIsAbsent(t *testing.T) {
	w := newWorld(t, sqlite(t))
	for _, name := range []string{
		"actor_token", "actor_token_type", "requested_token_type", "scope", "resource", "audience", "client_secret", "client_assertion",
		"latchkey_session_token", "acr_values", "max_age", "latchkey_device_name", "made-up",
	} {
		t.Run(name, func(t *testing.T) {
			a := w.Exchange("", "web", w.issuer.Token(w.URL, "alice", nil), name, "")
			if a.Status != 200 || a.Text("scope") != "profile orders:read" || claims(t, a)["aud"] != "web" {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
	w.want(401, "invalid_client", w.Post("/token", []string{"grant_type", "client_credentials", "client_id", ""}))
}

func TestNoCredentialIsTakenFromAURL(t *testing.T) {
	w := newWorld(t, sqlite(t))
	for _, path := range []string{"/token", "/revoke", "/introspect"} {
		for _, name := range []string{
			"client_id", "client_secret", "client_assertion", "assertion", "password", "code", "token", "access_token", "refresh_token",
			"subject_token", "actor_token", "latchkey_session_token",
		} {
			encoded := fmt.Sprintf("%%%02X", name[0]) + name[1:]
			for _, query := range []string{name + "=a-value-of-the-url", encoded + "=a-value-of-the-url", name} {
				t.Run(path+"?"+query, func(t *testing.T) {
					a := w.Do(http.MethodPost, path+"?"+query, strings.NewReader(machineForm+"&token=x"), contentType(formType))
					if a.Status != 400 || a.Error() != "invalid_request" {
						t.Errorf("answered %d %s", a.Status, a.Body)
					}
				})
			}
		}
		w.want(200, "", w.Do(http.MethodPost, path+"?ui_locales=fr", strings.NewReader(machineForm+"&token=x"), contentType(formType)))
	}
	if log := w.Log.String(); strings.Contains(log, "a-value-of-the-url") {
		t.Errorf("the log holds it:\n%s", log)
	}
}

func TestRefusalsRepeatNothingOfTheRequest(t *testing.T) {
	w := newWorld(t, sqlite(t))
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
	exchange := withMarker("grant_type", tokenExchange, "client_id", "web", "subject_token_type", ofJWT, "subject_token", "a.b.c")
	refresh := withMarker("grant_type", "refresh_token", "client_id", "web", "refresh_token", w.signIn("alice").Text("refresh_token"))
	var requests [][]string
	for _, name := range []string{"grant_type", "client_id", "client_secret", "client_assertion", "subject_token", "subject_token_type", "actor_token", "requested_token_type", "acr_values", marker} {
		requests = append(requests, exchange(name))
	}
	for _, name := range []string{"refresh_token", "scope", "resource", "audience"} {
		requests = append(requests, refresh(name))
	}
	good := []string{"grant_type", tokenExchange, "client_id", "web", "subject_token_type", ofJWT, "subject_token"}
	for _, extra := range [][]string{{"scope", marker}, {"scope", marker + `"\`}, {"resource", "https://" + marker}, {"audience", marker}, {"resource", marker + "\r\nX: 1"}} {
		requests = append(requests, append(append([]string(nil), append(good, w.issuer.Token(w.URL, "alice", nil))...), extra...))
	}
	for _, over := range []map[string]any{{"iss": marker}, {"aud": marker}, {"sub": marker + "é"}, {"client_id": marker}, {"amr": marker}} {
		requests = append(requests, append(append([]string(nil), good...), w.issuer.Token(w.URL, "alice", over)))
	}
	for _, form := range requests {
		a := w.Post("/token", form)
		if a.Status != 400 && a.Status != 401 {
			t.Errorf("%q is answered %d %s", form, a.Status, a.Body)
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
	eachDatabase(t, func(t *testing.T, w *world) {
		theirs := testserver.Backend()
		theirs.Secret = "another-secret-for-another-tenant-of-tests"
		only := api()
		only.Grants = []string{"client-credentials"}
		w.Apply(testserver.Tenant("acme", testserver.NewIssuer(t, w.Clock), theirs, only))
		asks := func(base, id, secret string) *testserver.Answer {
			return w.Post(base+"/token", []string{"grant_type", "client_credentials"}, testserver.Basic(id, secret))
		}
		w.want(200, "", asks("/t/acme", "api", only.Secret))
		w.want(401, "invalid_client", asks("", "api", only.Secret))
		w.want(200, "", asks("", "backend", testserver.ClientSecret))
		w.want(200, "", asks("/t/acme", "backend", theirs.Secret))
		for base, secret := range map[string]string{"/t/acme": testserver.ClientSecret, "": theirs.Secret} {
			a := w.want(401, "invalid_client", asks(base, "backend", secret))
			if got, want := a.Header.Get("WWW-Authenticate"), `Basic realm="`+w.URL+base+`"`; got != want {
				t.Errorf("challenged by %s, want %s", got, want)
			}
		}
	})
}
