package testwire

import (
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
)

func TestATenantHasOnePath(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web()))
	form := []string{"grant_type", "refresh_token", "client_id", "web", "refresh_token", "x"}
	d.Want(400, "invalid_grant", d.Post("/t/acme/token", form))
	d.Want(200, "", d.Get("/.well-known/openid-configuration/t/acme"))
	for _, path := range []string{
		"/t/%61cme", "/t/ac%6De", "/t/ACME", "/T/acme", "//t/acme", "/t//acme", "/t/acme/", "/t/acme%2F", "/%74/acme", "/t%2Facme",
		"/t/./acme", "/t/acme/.", "/t/x/../acme", "/t/acme%00", "/t/acme%20", "/t/default", "/t/", "/t", "/t/acme;x", "/t/a%63me/..%2Facme",
	} {
		a := d.Want(404, "not_found", d.Post(path+"/token", form))
		if a.Text("latchkey_reason") != "not_found" {
			t.Errorf("%s: %s", path, a.Body)
		}
		d.Want(404, "not_found", d.Get(path+"/.well-known/jwks.json"))
	}
	for _, path := range []string{"/.well-known/openid-configuration/t/%61cme", "/.well-known%2Fopenid-configuration/t/acme", "/%74oken", "/token%00", "//token", "/.well-known//jwks.json"} {
		d.Want(404, "not_found", d.Get(path))
	}
}
