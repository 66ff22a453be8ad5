package testadmin

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
)

// A secret may be in the response that creates it, and nowhere else.
func TestSecretsAreShownOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		secrets := map[string]string{
			"the owner's key": d.owner, "the admin's key": d.admin, "the support's key": d.support, "the viewer's key": d.viewer, "acme's key": d.onlyAcme,
			"the secret of backend": testserver.ClientSecret, "the root secret": testserver.RootSecret,
			"a secret": strings.Repeat("s", 40), "a previous secret": strings.Repeat("p", 40), "a shared secret": strings.Repeat("k", 40),
		}
		made := want(t, 201, d.call(t, d.owner, "POST", "/admin-keys", object{"name": "x", "role": "owner"}))
		secrets["a new key"] = made.Text("key")
		want(t, 200, d.call(t, secrets["a new key"], "GET", "/self", nil))
		want(t, 200, d.call(t, d.owner, "DELETE", "/admin-keys/"+made.Text("id"), nil))
		want(t, 201, d.call(t, d.owner, "PUT", "/tenants/default/clients/secret", with(everyClientSetting(), object{"grants": []string{"token-exchange", "refresh"}})))
		secrets["a new secret"] = want(t, 200, d.call(t, d.owner, "POST", "/tenants/default/clients/secret/secret", nil)).Text("secret")
		want(t, 201, d.call(t, d.owner, "PUT", "/tenants/default/trusted-issuers/shared", object{"issuer": "https://shared.example.com", "token_type": "jwt", "subject_prefix": "shared:", "keys": object{"shared_secret": secrets["a shared secret"]}}))
		want(t, 200, d.call(t, d.owner, "PATCH", "/tenants/default/clients/backend", object{"secret": secrets["a secret"]}))
		secrets["a client token"] = d.Issuer.Token(d.URL, "alice", nil)
		a := d.Want(200, "", d.Exchange("", "web", secrets["a client token"]))
		secrets["an access token"], secrets["a refresh token"] = a.Text("access_token"), a.Text("refresh_token")
		secrets["an explained token"] = d.Issuer.Token(d.URL, "bob", nil)
		want(t, 200, d.call(t, d.owner, "POST", "/tenants/default/explain", object{"client_id": "web", "subject_token": secrets["an explained token"]}))
		d.call(t, d.owner+"x", "GET", "/self", nil, malformed, fromNewIP())
		d.call(t, secrets["a new key"], "GET", "/self", nil, fromNewIP())
		for _, bad := range []object{{"secret": secrets["a secret"], "auth": "none"}, {"secret": secrets["a secret"], "no_such": 1}} {
			a := d.call(t, d.owner, "PUT", "/tenants/default/clients/bad", bad, malformed)
			if a.Status != 400 || strings.Contains(string(a.Body), secrets["a secret"]) {
				t.Errorf("status %d %s", a.Status, a.Body)
			}
		}

		metrics := httptest.NewRecorder()
		d.Metrics.ServeHTTP(metrics, httptest.NewRequest("GET", "/metrics", nil))
		places := map[string]string{"the log": d.Log.String(), "the metrics": metrics.Body.String(), "the events": d.Stored("events"), "the database": d.Stored()}
		v := pathValues(t, d)
		v["client"] = "secret"
		for _, op := range theDocument().operations {
			if op.method == "GET" && op.id != "follow-events" {
				a := d.call(t, d.owner, "GET", strings.TrimPrefix(fillPath(op.path, v), "/admin/v1"), nil)
				places["the answer of "+op.id] = string(a.Body)
			}
		}
		for what, secret := range secrets {
			if secret == "" {
				t.Errorf("%s is empty", what)
				continue
			}
			forms := []string{secret}
			if parts := strings.Split(secret, "."); len(parts) == 3 {
				forms = append(forms, parts[2]) // a signature makes a token of its claims
			}
			for place, text := range places {
				for _, form := range forms {
					if strings.Contains(text, form) {
						t.Errorf("%s has %s", place, what)
					}
				}
			}
		}
	})
}
