package testattack

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

// kids returns the ids of the keys that a tenant publishes.
func kids(d *testserver.Deployment, base string) (list []string) {
	d.T.Helper()
	d.Clock.Advance(6 * time.Second) // longer than the key set is cached
	for _, key := range d.Want(200, "", d.Get(base+"/.well-known/jwks.json")).JSON["keys"].([]any) {
		list = append(list, key.(map[string]any)["kid"].(string))
	}
	return list
}

func TestASigningKeyCopiedToAnotherTenantIsNotUsed(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web(), testserver.Backend()))
		own, theirs := kids(d, "")[0], kids(d, "/t/acme")[0]
		d.Tamper(`INSERT INTO signing_keys (tenant_id, kid, algorithm, sealed, root_version, created_at, activates_at)
			SELECT 'default', kid, algorithm, sealed, root_version, created_at, activates_at + 1 FROM signing_keys WHERE tenant_id = 'acme'`)
		a := d.SignIn("alice")
		if got := kids(d, ""); len(got) != 1 || got[0] != own || testserver.TokenPart(t, a, 0)["kid"] != own {
			t.Errorf("published %v, signed with %v, want %s", got, testserver.TokenPart(t, a, 0)["kid"], own)
		}
		foreign := d.Want(200, "", d.Exchange("/t/acme", "web", d.Issuer.Token(d.URL+"/t/acme", "alice", nil)))
		if testserver.TokenPart(t, foreign, 0)["kid"] != theirs {
			t.Fatalf("%v", testserver.TokenPart(t, foreign, 0))
		}
		if d.Active(foreign.Text("access_token")) || !d.Active(a.Text("access_token")) {
			t.Error("a token by the other tenant's key is active here, or ours is not")
		}
		d.Want(200, "", d.Post("/revoke", []string{"client_id", "web", "token", foreign.Text("access_token")}))
		if in := d.Introspect("/t/acme", foreign.Text("access_token")); in.JSON["active"] != true {
			t.Errorf("%s", in.Body)
		}
	})
}

func TestAKeyAddedToTheDatabaseIsNotUsed(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		own := kids(d, "")[0]
		attacker := testserver.NewES256Key(t)
		public, err := x509.MarshalPKIXPublicKey(attacker.Public())
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(attacker)
		if err != nil {
			t.Fatal(err)
		}
		for kid, sealed := range map[string][]byte{"public": public, "private": private, "nothing": {}} {
			d.Tamper(`INSERT INTO signing_keys (tenant_id, kid, algorithm, sealed, root_version, created_at, activates_at)
				SELECT tenant_id, '`+kid+`', algorithm, $1, root_version, created_at, activates_at + 1 FROM signing_keys WHERE tenant_id = 'default' AND kid = '`+own+`'`, sealed)
		}
		d.Tamper(`INSERT INTO signing_keys (tenant_id, kid, algorithm, sealed, root_version, created_at, activates_at)
			SELECT tenant_id, 'renamed', algorithm, sealed, root_version, created_at, activates_at + 1 FROM signing_keys WHERE tenant_id = 'default' AND kid = '` + own + `'`)
		if got := kids(d, ""); len(got) != 1 || got[0] != own {
			t.Errorf("published %v", got)
		}
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(a.Text("access_token"), ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, kid := range []string{"public", "private", "nothing", "renamed", own} {
			if d.Active(testserver.Forge(`{"alg":"ES256","typ":"at+jwt","kid":"`+kid+`"}`, string(payload), testserver.ES256(attacker))) {
				t.Errorf("a token by the key %s is active", kid)
			}
		}
		if !d.Active(d.SignIn("alice").Text("access_token")) || !d.Active(a.Text("access_token")) {
			t.Error("our own tokens are inactive")
		}
	})
}

func TestASharedSecretCopiedToAnotherTenantIsNotUsed(t *testing.T) {
	const theirs, ours = "the shared secret of another tenant's issuer", "the shared secret of our own tenant's issuer"
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		entry := func(secret string) settings.IssuerSpec {
			return settings.IssuerSpec{IssuerSettings: settings.IssuerSettings{
				Issuer: "https://shared.example.com", TokenType: settings.TokenTypeJWT, SubjectPrefix: "s:", Keys: settings.IssuerKeys{SharedSecret: secret},
			}}
		}
		d.Apply(settings.TenantSpec{ID: "default", TrustedIssuers: []settings.IssuerSpec{entry(ours)}},
			settings.TenantSpec{ID: "acme", TrustedIssuers: []settings.IssuerSpec{entry(theirs)}, Clients: []settings.ClientSpec{testserver.Web()}})
		token := func(tenant, secret string) string {
			payload := `{"iss":"https://shared.example.com","aud":"` + d.URL + tenant + `","sub":"alice","jti":"` + secret + d.JSONTime(0) + `","iat":` + d.JSONTime(0) + `,"exp":` + d.JSONTime(60) + `}`
			return testserver.Forge(`{"alg":"HS256"}`, payload, testserver.HS256([]byte(secret)))
		}
		d.Want(200, "", d.Exchange("", "web", token("", ours)))
		d.Want(200, "", d.Exchange("/t/acme", "web", token("/t/acme", theirs)))
		d.Tamper(`UPDATE trusted_issuers SET sealed_secret = (SELECT sealed_secret FROM trusted_issuers WHERE tenant_id = 'acme')
			WHERE tenant_id = 'default' AND settings LIKE '%shared.example.com%'`)
		d.Clock.Advance(time.Second)
		before := d.Written()
		for _, secret := range []string{theirs, ours, ""} { // an unreadable secret is a server error
			if a := d.Exchange("", "web", token("", secret)); a.Status != 500 || a.Error() != "server_error" || strings.Contains(string(a.Body), "shared") {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		}
		d.WantUnchanged(t, before)
		d.SignIn("alice")
		d.Want(200, "", d.Exchange("/t/acme", "web", token("/t/acme", theirs)))
	})
}

func TestACopiedDigestOrSessionGivesNoAccess(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		const secret = "the-secret-of-a-client-of-another-tenant-entirely"
		other := testserver.Backend()
		other.Secret = secret
		d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web(), other),
			testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(), testserver.APIClient()))
		machine := []string{"grant_type", "client_credentials"}
		d.Want(200, "", d.Post("/t/acme/token", machine, testserver.Basic("backend", secret)))
		d.Tamper(`UPDATE clients SET secret_digest = (SELECT secret_digest FROM clients WHERE tenant_id = 'acme' AND id = 'backend') WHERE tenant_id = 'default' AND id = 'backend'`)
		d.Want(401, "invalid_client", d.Post("/token", machine, testserver.Basic("backend", secret)))
		d.Want(401, "invalid_client", d.Post("/token", machine, testserver.Basic("backend", testserver.ClientSecret)))
		d.Tamper(`UPDATE clients SET secret_digest = (SELECT secret_digest FROM clients WHERE tenant_id = 'default' AND id = 'api') WHERE tenant_id = 'default' AND id = 'backend'`)
		d.Want(401, "invalid_client", d.Post("/introspect", []string{"token", "x"}, testserver.Basic("backend", testserver.APIClient().Secret)))
		d.Tamper(`UPDATE clients SET secret_digest = NULL WHERE tenant_id = 'default' AND id = 'backend'`)
		for _, guess := range []string{"", " ", "NULL", secret, testserver.ClientSecret} {
			d.Want(401, "invalid_client", d.Post("/introspect", []string{"token", "x"}, testserver.Basic("backend", guess)))
		}

		a := d.SignIn("alice")
		d.Tamper(`UPDATE sessions SET tenant_id = 'acme'`)
		for _, base := range []string{"", "/t/acme"} {
			d.Want(400, testserver.InvalidGrant, d.Refresh(base, "web", a.Text("refresh_token")))
			if in := d.Post(base+"/introspect", []string{"token", a.Text("access_token")}, testserver.Basic(map[string]string{"": "api", "/t/acme": "backend"}[base], map[string]string{"": testserver.APIClient().Secret, "/t/acme": secret}[base])); string(in.Body) != `{"active":false}` {
				t.Errorf("%d %s", in.Status, in.Body)
			}
		}
	})
}

// TestTheDatabaseContainsNoUsableToken reads every column. What the database does not
// contain in plain text cannot be compared in plain text either.
func TestTheDatabaseContainsNoUsableToken(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		const shared = "the-shared-secret-of-an-issuer-of-client-tokens"
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		d.Apply(settings.TenantSpec{ID: "default", TrustedIssuers: []settings.IssuerSpec{{IssuerSettings: settings.IssuerSettings{
			Issuer: "https://shared.example.com", TokenType: settings.TokenTypeJWT, SubjectPrefix: "s:", Keys: settings.IssuerKeys{SharedSecret: shared},
		}}}})
		form := d.BackendExchangeForm("alice")
		a := d.Want(200, "", d.Post("/token", form, asBackend))
		b := d.Want(200, "", d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", a.Text("refresh_token")}, asBackend))
		machine := d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, asBackend))
		d.Want(200, "", d.Post("/revoke", []string{"token", machine.Text("access_token")}, asBackend))
		d.Clock.Advance(time.Minute)
		refresh := func(of *testserver.Answer) *testserver.Answer {
			return d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", of.Text("refresh_token")}, asBackend)
		}
		d.Want(200, "", refresh(a)) // a late retry
		c := d.Want(200, "", refresh(b))
		d.Clock.Advance(time.Minute)
		d.Want(400, testserver.InvalidGrant, refresh(a)) // a replay
		stored := d.Stored()
		if !strings.Contains(stored, "refresh_reuse") || !strings.Contains(stored, "refresh_retried_late") || !strings.Contains(stored, "sealed_secret") {
			t.Fatal("not everything was read")
		}
		for name, secret := range map[string]string{
			"the root secret": testserver.RootSecret, "the client's secret": testserver.ClientSecret, "the shared secret": shared, "the client token": form[len(form)-1],
			"an access token": b.Text("access_token"), "a token without a session": machine.Text("access_token"), "a session token": a.Text("session_token"),
			"a used refresh token": a.Text("refresh_token"), "the last used refresh token": b.Text("refresh_token"), "the current refresh token": c.Text("refresh_token"),
		} {
			for _, part := range encodings(secret) {
				if strings.Contains(stored, part) {
					t.Errorf("the database holds %s", name)
				}
			}
		}
	})
}

// encodings returns the encodings of a secret and of its significant parts.
func encodings(secret string) []string {
	worth := []string{secret}
	if header, rest, isJWT := strings.Cut(secret, "."); isJWT {
		payload, signature, _ := strings.Cut(rest, ".")
		worth = append(worth, header+"."+payload, payload, signature)
	}
	if len(secret) > 6 && strings.HasPrefix(secret, "lk_") {
		worth = append(worth, secret[6:])
		if raw, err := base64.RawURLEncoding.DecodeString(secret[6:]); err == nil {
			worth = append(worth, string(raw[24:56])) // the secret part
		}
	}
	var all []string
	for _, text := range worth {
		all = append(all, text, hex.EncodeToString([]byte(text)), url.QueryEscape(text), url.PathEscape(text), strings.ToUpper(text),
			base64.StdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)))
	}
	return all
}

func TestClientAuthenticationDoesNotRevealWhyItFails(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		disabled := testserver.APIClient()
		disabled.Disabled = true
		d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(), disabled))
		a := d.SignIn("alice")
		before := d.Written()
		for path, form := range map[string][]string{
			"/token":      {"grant_type", "refresh_token", "refresh_token", a.Text("refresh_token")},
			"/revoke":     {"token", a.Text("refresh_token")},
			"/introspect": {"token", a.Text("access_token")},
		} {
			want := ""
			for name, opt := range map[string]testserver.Option{
				"an unknown client":                    testserver.Basic("nobody", testserver.ClientSecret),
				"an unknown client, no secret":         testserver.Basic("nobody", ""),
				"a wrong secret":                       testserver.Basic("backend", "wrong"),
				"the beginning of the secret":          testserver.Basic("backend", testserver.ClientSecret[:20]),
				"the secret with an additional letter": testserver.Basic("backend", testserver.ClientSecret+"x"),
				"the secret in capitals":               testserver.Basic("backend", strings.ToUpper(testserver.ClientSecret)),
				"no secret":                            testserver.Basic("backend", ""),
				"another client's secret":              testserver.Basic("backend", testserver.APIClient().Secret),
				"a secret of a public client":          testserver.Basic("web", testserver.ClientSecret),
				"a disabled client":                    testserver.Basic("api", testserver.APIClient().Secret),
				"a disabled client, wrongly":           testserver.Basic("api", "wrong"),
				"an id with a NUL":                     testserver.Basic("backend\x00", testserver.ClientSecret),
				"bad base64":                           testserver.Authorization("Basic %%%"),
				"no credentials":                       testserver.Authorization("Basic "),
				"another scheme":                       testserver.Authorization("Digest x"),
			} {
				d.Clock.Advance(6 * time.Second) // slowly enough to avoid throttling
				got := d.Want(401, "invalid_client", d.Post(path, form, opt))
				if want == "" {
					want = withoutVariableParts(got)
				}
				if withoutVariableParts(got) != want {
					t.Errorf("%s, %s: %s, otherwise %s", path, name, withoutVariableParts(got), want)
				}
			}
		}
		d.WantUnchanged(t, before)
		d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
	})
}

// Applying a configuration rejects reserved names; writing to the database directly
// bypasses that.
func TestAReservedClaimWrittenToTheDatabaseIsNotIssued(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a, b := d.SignIn("alice"), d.SignInAtBackend("bob")
		db := testserver.OpenDatabase(t, d.DatabaseURL)
		for _, statement := range []string{
			`UPDATE clients SET settings = replace(settings, '"auth":"none"', '"auth":"none","claims":{"cnf":"{\"jkt\": user.sub}"}') WHERE id = 'web'`,
			"UPDATE tenants SET revision = revision + 1",
		} {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		d.Clock.Advance(6 * time.Second)
		d.Want(500, "server_error", d.Refresh("", "web", a.Text("refresh_token")))
		if !strings.Contains(d.Log.String(), "claims.cnf: is a reserved name") {
			t.Error("the log does not give the reason")
		}
		d.Want(200, "", d.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", b.Text("refresh_token")}, testserver.AsBackend()))
	})
}
