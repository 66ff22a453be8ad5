package handlers_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
)

func TestMetadataIsTheSameAtAllItsURLs(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web()))
		for tenant, paths := range map[string][]string{
			"":        {"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"},
			"/t/acme": {"/t/acme/.well-known/openid-configuration", "/t/acme/.well-known/oauth-authorization-server", "/.well-known/openid-configuration/t/acme", "/.well-known/oauth-authorization-server/t/acme"},
		} {
			first := d.Want(200, "", d.Get(paths[0]))
			if first.Text("issuer") != d.URL+tenant || first.Text("jwks_uri") != d.URL+tenant+"/.well-known/jwks.json" {
				t.Errorf("%s", first.Body)
			}
			for _, path := range paths {
				a := d.Want(200, "", d.Get(path, testserver.Header("X-Forwarded-Host", "evil.example"), testserver.Header("X-Forwarded-Proto", "https"), testserver.Header("Forwarded", "host=evil.example")))
				if !bytes.Equal(a.Body, first.Body) || a.Header.Get("ETag") != first.Header.Get("ETag") {
					t.Errorf("%s differs", path)
				}
				if a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "public, max-age=300" || a.Header.Get("Access-Control-Allow-Origin") != "*" {
					t.Errorf("%s: %v", path, a.Header)
				}
				if again := d.Get(path, testserver.Header("If-None-Match", a.Header.Get("ETag"))); again.Status != 304 || len(again.Body) != 0 {
					t.Errorf("%s: status %d with its ETag", path, again.Status)
				}
			}
		}
		for _, path := range []string{
			"/t/nobody/.well-known/openid-configuration", "/.well-known/openid-configuration/t/nobody", "/t/nobody/.well-known/jwks.json",
			"/t/default/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/t/acme/.well-known/openid-configuration/",
		} {
			d.Want(404, "not_found", d.Get(path))
		}
		d.Want(405, "invalid_request", d.Post("/.well-known/openid-configuration", nil))
	})
}

func TestMetadataDescribesWhatIsServed(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	got := d.Get("/.well-known/openid-configuration")
	for name, want := range map[string]string{
		"response_types_supported":                      `[]`,
		"grant_types_supported":                         `["urn:ietf:params:oauth:grant-type:token-exchange","refresh_token","client_credentials"]`,
		"token_endpoint_auth_methods_supported":         `["none","client_secret_basic","client_secret_post"]`,
		"revocation_endpoint_auth_methods_supported":    `["none","client_secret_basic","client_secret_post"]`,
		"introspection_endpoint_auth_methods_supported": `["client_secret_basic","client_secret_post"]`,
		"subject_types_supported":                       `["public"]`,
		"id_token_signing_alg_values_supported":         `["RS256","ES256"]`,
		"request_uri_parameter_supported":               `false`,
		"scopes_supported":                              `["orders:read","profile"]`,
	} {
		text, err := json.Marshal(got.JSON[name])
		if err != nil || string(text) != want {
			t.Errorf("%s is %s, want %s", name, text, want)
		}
	}
	for name, value := range got.JSON {
		address, ok := value.(string)
		if !ok || !strings.HasPrefix(address, d.URL+"/") {
			continue
		}
		if a := d.Get(strings.TrimPrefix(address, d.URL)); a.Status == 404 {
			t.Errorf("%s is advertised, but its status is 404", name)
		}
	}
}

func TestKeySetFollowsRotation(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		kids := func() (list []string) {
			a := d.Want(200, "", d.Get("/.well-known/jwks.json"))
			if a.Header.Get("Content-Type") != "application/jwk-set+json" {
				t.Errorf("%v", a.Header)
			}
			for _, k := range a.JSON["keys"].([]any) {
				key := k.(map[string]any)
				if key["d"] != nil || key["use"] != "sig" || key["alg"] != "ES256" {
					t.Errorf("%v", key)
				}
				list = append(list, key["kid"].(string))
			}
			return list
		}
		old := d.SignIn("alice")
		oldKid := testserver.TokenPart(t, old, 0)["kid"].(string)
		key, err := d.OAuth.RotateSigningKey(t.Context(), "default", models.ServerActor)
		if err != nil {
			t.Fatal(err)
		}
		d.Clock.Advance(6 * time.Second) // longer than a node waits before it checks again
		if got := kids(); !slices.Equal(got, []string{key.Kid, oldKid}) {
			t.Fatalf("published %v after the announcement of %s beside %s", got, key.Kid, oldKid)
		}
		if kid := testserver.TokenPart(t, d.SignIn("bob"), 0)["kid"]; kid != oldKid {
			t.Error("the announced key already signs")
		}
		d.Clock.Advance(keys.Announcement)
		fresh := d.SignIn("carol")
		if kid := testserver.TokenPart(t, fresh, 0)["kid"]; kid != key.Kid {
			t.Errorf("%v signs, want the new key", kid)
		}
		if !d.Active(fresh.Text("access_token")) {
			t.Error("a token of the new key is inactive")
		}
		d.Clock.Advance(24 * time.Hour)
		if got := kids(); !slices.Contains(got, oldKid) {
			t.Error("the old key is no longer published before the last token that it may have signed expires")
		}
		d.Clock.Advance(time.Minute)
		if got := kids(); slices.Contains(got, oldKid) {
			t.Errorf("the old key is still published: %v", got)
		}
	})
}

func TestTokensOfTheOldKeyStayActiveAfterRotation(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		client := testserver.Web()
		client.AccessTokenTTL = testserver.Duration(time.Hour)
		d.Apply(testserver.Tenant("default", d.Issuer, client, testserver.Backend()))
		a := d.SignIn("alice")
		if _, err := d.OAuth.RotateSigningKey(t.Context(), "default", models.ServerActor); err != nil {
			t.Fatal(err)
		}
		d.Clock.Advance(keys.Announcement + time.Minute)
		d.SignIn("bob")
		if !d.Active(a.Text("access_token")) {
			t.Error("inactive after the rotation")
		}
	})
}

func TestCORSIsPerClient(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	other := testserver.Web()
	other.ID, other.Origins = "other", []string{"https://other.example.com"}
	d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(), other))
	origin := func(o string) testserver.Option { return testserver.Header("Origin", o) }
	for o, want := range map[string]string{"https://app.example.com": "https://app.example.com", "https://other.example.com": "https://other.example.com", "https://evil.example": "", "null": "", "https://app.example.com.evil": ""} {
		a := d.Do(http.MethodOptions, "/token", nil, origin(o), testserver.Header("Access-Control-Request-Method", "POST"))
		if a.Status != 204 || a.Header.Get("Access-Control-Allow-Origin") != want || !slices.Contains(a.Header.Values("Vary"), "Origin") {
			t.Errorf("preflight of %s: %d %v", o, a.Status, a.Header)
		}
		if want != "" && (a.Header.Get("Access-Control-Allow-Methods") != "POST" || a.Header.Get("Access-Control-Max-Age") != "600") {
			t.Errorf("preflight of %s: %v", o, a.Header)
		}
		headers := strings.Split(a.Header.Get("Access-Control-Allow-Headers"), ", ")
		for _, name := range []string{"Authorization", "Content-Type", "DPoP", "traceparent"} {
			if slices.Contains(headers, name) != (want != "") {
				t.Errorf("preflight of %s allows the headers %v", o, headers)
			}
		}
		if slices.ContainsFunc(headers, func(name string) bool { return name == "*" || strings.EqualFold(name, "Cookie") }) {
			t.Errorf("preflight of %s allows the headers %v", o, headers)
		}
		if a.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Error("credentials are allowed")
		}
	}
	token := d.SignIn("alice").Text("refresh_token")
	form := []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", token}
	before := d.Stored()
	if a := d.Post("/token", form, origin("https://other.example.com")); a.Status != 403 || a.Text("latchkey_reason") != "origin_not_listed" || a.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another client's origin: %d %s %v", a.Status, a.Body, a.Header)
	}
	if d.Stored() != before {
		t.Error("a request from another client's origin changed something")
	}
	if a := d.Post("/token", form, origin("https://app.example.com")); a.Status != 200 || a.JSON["latchkey_generation"] != 1.0 || a.Header.Get("Access-Control-Allow-Origin") != "https://app.example.com" {
		t.Errorf("its own origin: %d %s %v", a.Status, a.Body, a.Header)
	}
	if a := d.Post("/token", []string{"grant_type", "refresh_token"}, origin("https://app.example.com")); a.Status != 401 || a.Header.Get("Access-Control-Allow-Origin") == "" || a.Header.Get("Access-Control-Expose-Headers") == "" {
		t.Errorf("an error before the client is known: %d %v", a.Status, a.Header)
	}
	if a := d.Post("/introspect", []string{"token", "x"}, origin("https://app.example.com"), testserver.Basic("backend", testserver.ClientSecret)); a.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("introspection has CORS")
	}
}

func TestAllowNamesTheMethods(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	for _, path := range []string{"/token", "/revoke"} {
		a := d.Want(405, "invalid_request", d.Get(path))
		if allow := a.Header.Get("Allow"); allow != "POST, OPTIONS" {
			t.Errorf("%s allows %q", path, allow)
		}
	}
	if a := d.Want(405, "invalid_request", d.Get("/introspect")); a.Header.Get("Allow") != "POST" {
		t.Errorf("/introspect allows %q", a.Header.Get("Allow"))
	}
	if a := d.Do(http.MethodHead, "/.well-known/jwks.json", nil); a.Status != 200 || a.Header.Get("ETag") == "" {
		t.Errorf("HEAD: %d", a.Status)
	}
	if a := d.Get("/healthz"); a.Status != 200 || a.Header.Get("X-Content-Type-Options") != "nosniff" || a.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("%d %v", a.Status, a.Header)
	}
}
