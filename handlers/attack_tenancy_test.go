package handlers_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

// tamper writes to the database behind the server's back, and lets the node
// look.
func (w *world) tamper(statement string, args ...any) {
	w.t.Helper()
	db := openDatabase(w.t, w.DatabaseURL)
	defer db.Close()
	done, err := db.Exec(statement, args...)
	if err != nil {
		w.t.Fatal(err)
	}
	if n, _ := done.RowsAffected(); n == 0 {
		w.t.Fatalf("nothing changed by %s", statement)
	}
	if _, err := db.Exec("UPDATE tenants SET revision = revision + 1"); err != nil {
		w.t.Fatal(err)
	}
	if err := w.OAuth.Refresh(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// kids lists the keys that a tenant publishes.
func (w *world) kids(base string) (list []string) {
	w.t.Helper()
	w.Clock.Advance(6 * time.Second) // longer than one rendering is served
	for _, key := range w.want(200, "", w.Get(base+"/.well-known/jwks.json")).JSON["keys"].([]any) {
		list = append(list, key.(map[string]any)["kid"].(string))
	}
	return list
}

func TestASigningKeyCopiedToAnotherTenantIsNotUsed(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		w.Apply(testserver.Tenant("acme", w.issuer, testserver.Web(), testserver.Backend()))
		own, theirs := w.kids("")[0], w.kids("/t/acme")[0]
		w.tamper(`INSERT INTO signing_keys (tenant_id, kid, algorithm, sealed, root_version, created_at, activates_at)
			SELECT 'default', kid, algorithm, sealed, root_version, created_at, activates_at + 1 FROM signing_keys WHERE tenant_id = 'acme'`)
		a := w.signIn("alice")
		if got := w.kids(""); len(got) != 1 || got[0] != own || part(t, a, 0)["kid"] != own {
			t.Errorf("published %v, signed with %v, want %s", got, part(t, a, 0)["kid"], own)
		}
		foreign := w.want(200, "", w.Exchange("/t/acme", "web", w.issuer.Token(w.URL+"/t/acme", "alice", nil)))
		if part(t, foreign, 0)["kid"] != theirs {
			t.Fatalf("%v", part(t, foreign, 0))
		}
		if w.active(foreign.Text("access_token")) || !w.active(a.Text("access_token")) {
			t.Error("a token by the other tenant's key is active here, or ours is not")
		}
		w.want(200, "", w.Post("/revoke", []string{"client_id", "web", "token", foreign.Text("access_token")}))
		if in := w.Introspect("/t/acme", foreign.Text("access_token")); in.JSON["active"] != true {
			t.Errorf("%s", in.Body)
		}
	})
}

func TestAKeyAddedToTheDatabaseIsNotUsed(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signIn("alice")
		own := w.kids("")[0]
		attacker := newES256Key(t)
		public, err := x509.MarshalPKIXPublicKey(attacker.Public())
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(attacker)
		if err != nil {
			t.Fatal(err)
		}
		for kid, sealed := range map[string][]byte{"public": public, "private": private, "nothing": {}} {
			w.tamper(`INSERT INTO signing_keys (tenant_id, kid, algorithm, sealed, root_version, created_at, activates_at)
				SELECT tenant_id, '`+kid+`', algorithm, $1, root_version, created_at, activates_at + 1 FROM signing_keys WHERE tenant_id = 'default' AND kid = '`+own+`'`, sealed)
		}
		w.tamper(`INSERT INTO signing_keys (tenant_id, kid, algorithm, sealed, root_version, created_at, activates_at)
			SELECT tenant_id, 'renamed', algorithm, sealed, root_version, created_at, activates_at + 1 FROM signing_keys WHERE tenant_id = 'default' AND kid = '` + own + `'`)
		if got := w.kids(""); len(got) != 1 || got[0] != own {
			t.Errorf("published %v", got)
		}
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(a.Text("access_token"), ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, kid := range []string{"public", "private", "nothing", "renamed", own} {
			if w.active(forge(`{"alg":"ES256","typ":"at+jwt","kid":"`+kid+`"}`, string(payload), es256(attacker))) {
				t.Errorf("a token by the key %s is active", kid)
			}
		}
		if !w.active(w.signIn("alice").Text("access_token")) || !w.active(a.Text("access_token")) {
			t.Error("our own tokens are inactive")
		}
	})
}

func TestASharedSecretCopiedToAnotherTenantIsNotUsed(t *testing.T) {
	const theirs, ours = "the shared secret of another tenant's issuer", "the shared secret of our own tenant's issuer"
	eachDatabase(t, func(t *testing.T, w *world) {
		entry := func(secret string) models.IssuerSpec {
			return models.IssuerSpec{IssuerSettings: models.IssuerSettings{
				Issuer: "https://shared.example.com", TokenType: models.TokenTypeJWT, SubjectPrefix: "s:", Keys: models.IssuerKeys{SharedSecret: secret},
			}}
		}
		w.Apply(models.TenantSpec{ID: "default", TrustedIssuers: []models.IssuerSpec{entry(ours)}},
			models.TenantSpec{ID: "acme", TrustedIssuers: []models.IssuerSpec{entry(theirs)}, Clients: []models.ClientSpec{testserver.Web()}})
		token := func(tenant, secret string) string {
			payload := `{"iss":"https://shared.example.com","aud":"` + w.URL + tenant + `","sub":"alice","jti":"` + secret + w.now(0) + `","iat":` + w.now(0) + `,"exp":` + w.now(60) + `}`
			return forge(`{"alg":"HS256"}`, payload, hs256([]byte(secret)))
		}
		w.want(200, "", w.Exchange("", "web", token("", ours)))
		w.want(200, "", w.Exchange("/t/acme", "web", token("/t/acme", theirs)))
		w.tamper(`UPDATE trusted_issuers SET sealed_secret = (SELECT sealed_secret FROM trusted_issuers WHERE tenant_id = 'acme')
			WHERE tenant_id = 'default' AND settings LIKE '%shared.example.com%'`)
		w.Clock.Advance(time.Second)
		before := w.written()
		for _, secret := range []string{theirs, ours, ""} { // that it does not open is our fault, not the token's
			if a := w.Exchange("", "web", token("", secret)); a.Status != 500 || a.Error() != "server_error" || strings.Contains(string(a.Body), "shared") {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		}
		w.same(t, before)
		w.signIn("alice")
		w.want(200, "", w.Exchange("/t/acme", "web", token("/t/acme", theirs)))
	})
}

func TestADigestOrASessionCopiedElsewhereOpensNothing(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		const secret = "the-secret-of-a-client-of-another-tenant-entirely"
		other := testserver.Backend()
		other.Secret = secret
		w.Apply(testserver.Tenant("acme", w.issuer, testserver.Web(), other),
			testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend(), api()))
		machine := []string{"grant_type", "client_credentials"}
		w.want(200, "", w.Post("/t/acme/token", machine, testserver.Basic("backend", secret)))
		w.tamper(`UPDATE clients SET secret_digest = (SELECT secret_digest FROM clients WHERE tenant_id = 'acme' AND id = 'backend') WHERE tenant_id = 'default' AND id = 'backend'`)
		w.want(401, "invalid_client", w.Post("/token", machine, testserver.Basic("backend", secret)))
		w.want(401, "invalid_client", w.Post("/token", machine, testserver.Basic("backend", testserver.ClientSecret)))
		w.tamper(`UPDATE clients SET secret_digest = (SELECT secret_digest FROM clients WHERE tenant_id = 'default' AND id = 'api') WHERE tenant_id = 'default' AND id = 'backend'`)
		w.want(401, "invalid_client", w.Post("/introspect", []string{"token", "x"}, testserver.Basic("backend", api().Secret)))
		w.tamper(`UPDATE clients SET secret_digest = NULL WHERE tenant_id = 'default' AND id = 'backend'`)
		for _, guess := range []string{"", " ", "NULL", secret, testserver.ClientSecret} {
			w.want(401, "invalid_client", w.Post("/introspect", []string{"token", "x"}, testserver.Basic("backend", guess)))
		}

		a := w.signIn("alice")
		w.tamper(`UPDATE sessions SET tenant_id = 'acme'`)
		for _, base := range []string{"", "/t/acme"} {
			w.want(400, refused, w.Refresh(base, "web", a.Text("refresh_token")))
			if in := w.Post(base+"/introspect", []string{"token", a.Text("access_token")}, testserver.Basic(map[string]string{"": "api", "/t/acme": "backend"}[base], map[string]string{"": api().Secret, "/t/acme": secret}[base])); string(in.Body) != `{"active":false}` {
				t.Errorf("%d %s", in.Status, in.Body)
			}
		}
	})
}

// TestTheDatabaseHoldsNothingThatCouldBeShown reads every column: what is not
// there in the clear cannot be compared in the clear either.
func TestTheDatabaseHoldsNothingThatCouldBeShown(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		const shared = "the-shared-secret-of-an-issuer-of-client-tokens"
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		w.Apply(models.TenantSpec{ID: "default", TrustedIssuers: []models.IssuerSpec{{IssuerSettings: models.IssuerSettings{
			Issuer: "https://shared.example.com", TokenType: models.TokenTypeJWT, SubjectPrefix: "s:", Keys: models.IssuerKeys{SharedSecret: shared},
		}}}})
		form := w.exchangeAsBackend("alice")
		a := w.want(200, "", w.Post("/token", form, asBackend))
		b := w.want(200, "", w.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", a.Text("refresh_token")}, asBackend))
		machine := w.want(200, "", w.Post("/token", []string{"grant_type", "client_credentials"}, asBackend))
		w.want(200, "", w.Post("/revoke", []string{"token", machine.Text("access_token")}, asBackend))
		w.Clock.Advance(time.Minute)
		w.want(400, refused, w.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", a.Text("refresh_token")}, asBackend))
		stored := w.stored()
		if !strings.Contains(stored, "refresh_reuse") || !strings.Contains(stored, "sealed_secret") {
			t.Fatal("not everything was read")
		}
		for name, secret := range map[string]string{
			"the root secret": testserver.RootSecret, "the client's secret": testserver.ClientSecret, "the shared secret": shared, "the client token": form[len(form)-1],
			"an access token": b.Text("access_token"), "a token without a session": machine.Text("access_token"), "a session token": a.Text("session_token"),
			"a used refresh token": a.Text("refresh_token"), "the current refresh token": b.Text("refresh_token"),
		} {
			for _, part := range forms(secret) {
				if strings.Contains(stored, part) {
					t.Errorf("the database holds %s", name)
				}
			}
		}
	})
}

// forms are the ways in which a secret may be written, and the parts of it
// that are worth having.
func forms(secret string) []string {
	worth := []string{secret}
	if header, rest, isJWT := strings.Cut(secret, "."); isJWT {
		payload, signature, _ := strings.Cut(rest, ".")
		worth = append(worth, header+"."+payload, payload, signature)
	}
	if len(secret) > 6 && strings.HasPrefix(secret, "lk_") {
		worth = append(worth, secret[6:])
		if raw, err := base64.RawURLEncoding.DecodeString(secret[6:]); err == nil {
			worth = append(worth, string(raw[24:56])) // its own secret
		}
	}
	var all []string
	for _, text := range worth {
		all = append(all, text, hex.EncodeToString([]byte(text)), url.QueryEscape(text), url.PathEscape(text), strings.ToUpper(text),
			base64.StdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)))
	}
	return all
}

func TestClientAuthenticationDoesNotTellWhyItFails(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		disabled := api()
		disabled.Disabled = true
		w.Apply(testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend(), disabled))
		a := w.signIn("alice")
		before := w.written()
		for path, form := range map[string][]string{
			"/token":      {"grant_type", "refresh_token", "refresh_token", a.Text("refresh_token")},
			"/revoke":     {"token", a.Text("refresh_token")},
			"/introspect": {"token", a.Text("access_token")},
		} {
			want := ""
			for name, opt := range map[string]testserver.Option{
				"an unknown client":             testserver.Basic("nobody", testserver.ClientSecret),
				"an unknown client, no secret":  testserver.Basic("nobody", ""),
				"a wrong secret":                testserver.Basic("backend", "wrong"),
				"the beginning of the secret":   testserver.Basic("backend", testserver.ClientSecret[:20]),
				"the secret with a letter more": testserver.Basic("backend", testserver.ClientSecret+"x"),
				"the secret in capitals":        testserver.Basic("backend", strings.ToUpper(testserver.ClientSecret)),
				"no secret":                     testserver.Basic("backend", ""),
				"another client's secret":       testserver.Basic("backend", api().Secret),
				"a secret of a public client":   testserver.Basic("web", testserver.ClientSecret),
				"a disabled client":             testserver.Basic("api", api().Secret),
				"a disabled client, wrongly":    testserver.Basic("api", "wrong"),
				"an id with a NUL":              testserver.Basic("backend\x00", testserver.ClientSecret),
				"bad base64":                    authorization("Basic %%%"),
				"no credentials":                authorization("Basic "),
				"another scheme":                authorization("Digest x"),
			} {
				w.Clock.Advance(6 * time.Second) // slower than wrong secrets are throttled
				got := w.want(401, "invalid_client", w.Post(path, form, opt))
				if want == "" {
					want = said(got)
				}
				if said(got) != want {
					t.Errorf("%s, %s: %s, otherwise %s", path, name, said(got), want)
				}
			}
		}
		w.same(t, before)
		w.want(200, "", w.Refresh("", "web", a.Text("refresh_token")))
	})
}

// Reserved names are refused when a configuration is applied; whoever writes to
// the database has not applied it.
func TestAReservedClaimWrittenToTheDatabaseIsNotIssued(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a, b := w.signIn("alice"), w.signInAtBackend("bob")
		db := openDatabase(t, w.DatabaseURL)
		for _, statement := range []string{
			`UPDATE clients SET settings = replace(settings, '"auth":"none"', '"auth":"none","claims":{"cnf":"{\"jkt\": user.sub}"}') WHERE id = 'web'`,
			"UPDATE tenants SET revision = revision + 1",
		} {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		w.Clock.Advance(6 * time.Second)
		w.want(500, "server_error", w.Refresh("", "web", a.Text("refresh_token")))
		if !strings.Contains(w.Log.String(), "claims.cnf: is a reserved name") {
			t.Error("the log does not say why")
		}
		w.want(200, "", w.Post("/token", []string{"grant_type", "refresh_token", "refresh_token", b.Text("refresh_token")}, asBackend()))
	})
}
