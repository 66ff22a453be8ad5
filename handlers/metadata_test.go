package handlers_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

// newDeploymentBehindTLS returns a deployment with an https issuer, as behind a
// proxy that terminates TLS. Its URL is the address at which the server listens.
func newDeploymentBehindTLS(t *testing.T) *testserver.Deployment {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := testserver.OnSQLite(t)
	o.Listener, o.Issuer = listener, "https://id.example.com"
	d := testserver.NewDeployment(t, o)
	d.Apply(testserver.Tenant("acme", d.Issuer))
	d.URL = "http://" + listener.Addr().String()
	return d
}

// forgedHost names another host in every header that a proxy might set.
func forgedHost(r *http.Request) {
	r.Host = "evil.example"
	for name, value := range map[string]string{
		"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "X-Forwarded-Port": "666", "X-Forwarded-Prefix": "/evil",
		"X-Original-URL": "/t/evil/token", "Forwarded": "host=evil.example;proto=http",
	} {
		r.Header.Set(name, value)
	}
}

func TestMetadataHasExactlyTheseMembers(t *testing.T) {
	d := newDeploymentBehindTLS(t)
	for tenant, scopes := range map[string]string{"": `"scopes_supported": ["orders:read", "profile"],`, "/t/acme": ""} { // acme has no client
		var got, want any
		iss := "https://id.example.com" + tenant
		for text, into := range map[string]*any{
			string(d.Want(200, "", d.Get(tenant+"/.well-known/openid-configuration")).Body): &got,
			`{
				"issuer": "` + iss + `",
				"token_endpoint": "` + iss + `/token",
				"revocation_endpoint": "` + iss + `/revoke",
				"introspection_endpoint": "` + iss + `/introspect",
				"userinfo_endpoint": "` + iss + `/userinfo",
				"jwks_uri": "` + iss + `/.well-known/jwks.json",
				"response_types_supported": [],
				"grant_types_supported": ["urn:ietf:params:oauth:grant-type:token-exchange", "refresh_token", "client_credentials"],
				"subject_types_supported": ["public"],
				"id_token_signing_alg_values_supported": ["RS256", "ES256"],
				"token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
				"revocation_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
				"introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
				"introspection_signing_alg_values_supported": ["ES256"], ` + scopes + `
				"acr_values_supported": ["urn:latchkey:acr:1", "urn:latchkey:acr:2", "phr", "phrh"],
				"request_parameter_supported": false,
				"request_uri_parameter_supported": false,
				"claims_parameter_supported": false
			}`: &want,
		} {
			if err := json.Unmarshal([]byte(text), into); err != nil {
				t.Fatal(err)
			}
		}
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		if string(a) != string(b) {
			t.Errorf("metadata of %s:\n%s\nwant:\n%s", iss, a, b)
		}
	}
}

func TestMetadataIsServedNowhereElse(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web()))
	for _, tenant := range []string{"nobody", "ACME", "acme/", "default", "%61cme%2f", "acme.", "..", ""} {
		for _, path := range []string{
			"/t/" + tenant + "/.well-known/openid-configuration", "/t/" + tenant + "/.well-known/oauth-authorization-server",
			"/.well-known/openid-configuration/t/" + tenant, "/.well-known/oauth-authorization-server/t/" + tenant,
		} {
			d.Want(404, "not_found", d.Get(path))
		}
	}
	for _, path := range []string{"/", "//", "/t/acme", "/t/acme/", "/t/", "//.well-known/openid-configuration", "/t/acme/.well-known/oauth-authorization-server/t/acme"} {
		d.Want(404, "not_found", d.Get(path))
	}
	for _, path := range []string{"/.well-known/openid-configuration", "/t/acme/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server/t/acme", "/.well-known/jwks.json"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
			a := d.Want(405, "invalid_request", d.Do(method, path, nil))
			if allow := a.Header.Get("Allow"); allow != "GET, HEAD" {
				t.Errorf("%s allows %q", path, allow)
			}
		}
	}
}

func TestAForgedHostChangesNothing(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web()))
	for _, path := range []string{
		"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/.well-known/jwks.json",
		"/t/acme/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/t/acme",
	} {
		if plain, forged := d.Want(200, "", d.Get(path)), d.Want(200, "", d.Get(path, forgedHost)); string(plain.Body) != string(forged.Body) || plain.Header.Get("ETag") != forged.Header.Get("ETag") {
			t.Errorf("%s: %s", path, forged.Body)
		}
	}
	a := d.Want(200, "", d.Post("/token", []string{
		"grant_type", testserver.GrantTokenExchange, "client_id", "web", "subject_token_type", testserver.TypeJWT, "subject_token", d.Issuer.Token(d.URL, "alice", nil),
	}, forgedHost))
	if iss := testserver.Claims(t, a)["iss"]; iss != d.URL {
		t.Errorf("iss %v", iss)
	}
	d.Want(400, "invalid_request", d.Post("/token", []string{
		"grant_type", testserver.GrantTokenExchange, "client_id", "web", "subject_token_type", testserver.TypeJWT, "subject_token", d.Issuer.Token("http://evil.example", "alice", nil),
	}, forgedHost))
	refused := d.Want(401, "invalid_client", d.Post("/introspect", []string{"token", "x"}, forgedHost))
	if realm := refused.Header.Get("WWW-Authenticate"); realm != `Basic realm="`+d.URL+`"` {
		t.Error(realm)
	}
}

func TestMetadataListsTheScopesThatAppsMayRequest(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	app, off, machine := testserver.Web(), testserver.Web(), testserver.Backend()
	app.Scopes = []string{"profile"}
	off.ID, off.Scopes, off.Disabled = "off", []string{"old"}, true
	machine.ID, machine.Grants, machine.SessionToken, machine.Scopes = "machine", []string{settings.GrantClientCredentials}, false, []string{"internal"}
	d.Apply(testserver.Tenant("acme", d.Issuer, app, off, machine))
	if got := fmt.Sprint(d.Want(200, "", d.Get("/t/acme/.well-known/openid-configuration")).JSON["scopes_supported"]); got != "[profile]" {
		t.Errorf("scopes_supported %s", got)
	}
}
