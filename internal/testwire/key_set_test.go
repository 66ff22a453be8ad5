package testwire

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

func TestAKeySetContainsOnlyPublicMembers(t *testing.T) {
	for algorithm, c := range map[string]struct{ alg, kty, identity, also string }{ // the identifying members of RFC 7638 §3.2
		"":        {"RS256", "RSA", "e kty n", "alg kid use"},
		"ES256":   {"ES256", "EC", "crv kty x y", "alg kid use"},
		"Ed25519": {"EdDSA", "OKP", "crv kty x", "alg kid use"},
	} {
		t.Run("signing_algorithm "+algorithm, func(t *testing.T) {
			d := newDeploymentThatSigns(t, algorithm)
			keys := d.PublishedKeys("")
			if len(keys) != 1 {
				t.Fatalf("%v", keys)
			}
			key, identity := keys[0], map[string]any{}
			for _, name := range strings.Fields(c.identity) {
				identity[name] = key[name]
			}
			want := append(strings.Fields(c.identity), strings.Fields(c.also)...)
			if got := slices.Sorted(maps.Keys(key)); !slices.Equal(got, slices.Sorted(slices.Values(want))) || key["kty"] != c.kty || key["use"] != "sig" || key["alg"] != c.alg {
				t.Errorf("%v", key)
			}
			text, err := json.Marshal(identity) // in the member order of the thumbprint
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(text)
			if thumbprint := base64.RawURLEncoding.EncodeToString(sum[:]); key["kid"] != thumbprint {
				t.Errorf("kid %v, thumbprint %s", key["kid"], thumbprint)
			}
			if n, ok := key["n"].(string); ok {
				modulus, err := base64.RawURLEncoding.DecodeString(n)
				if err != nil || len(modulus) < 256 || modulus[0] < 0x80 || key["e"] != "AQAB" {
					t.Errorf("n of %d bytes, e %v", len(modulus), key["e"])
				}
			}
		})
	}
}

func TestAKeySetMayBeCachedForFiveMinutes(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web()))
		for _, path := range []string{"/.well-known/jwks.json", "/t/acme/.well-known/jwks.json"} {
			a, head := d.Want(200, "", d.Get(path)), d.Do(http.MethodHead, path, nil)
			for _, answer := range []*testserver.Answer{a, head} {
				h := answer.Header
				if answer.Status != 200 || h.Get("Content-Type") != "application/jwk-set+json" || h.Get("Cache-Control") != "public, max-age=300" || h.Get("ETag") == "" || h.Get("ETag") != a.Header.Get("ETag") {
					t.Errorf("%s: %d %v", path, answer.Status, h)
				}
			}
			again := d.Get(path, testserver.Header("If-None-Match", a.Header.Get("ETag")))
			if again.Status != 304 || len(again.Body)+len(head.Body) != 0 || again.Header.Get("Cache-Control") != "public, max-age=300" {
				t.Errorf("%s: %d with its ETag, %v", path, again.Status, again.Header)
			}
		}
		before := d.Get("/.well-known/jwks.json").Header.Get("ETag")
		if other := d.Get("/t/acme/.well-known/jwks.json").Header.Get("ETag"); other == before {
			t.Error("two key sets have one ETag")
		}
		d.Want(404, "not_found", d.Get("/t/nobody/.well-known/jwks.json"))
		d.Want(404, "not_found", d.Get("/.well-known/jwks.json/t/acme")) // keys are only at jwks_uri
	})
}

func TestNoKeyServesTwoTenants(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web(), testserver.Backend()))
		ours, theirs := d.PublishedKeys(""), d.PublishedKeys("/t/acme")
		if len(ours) != 1 || len(theirs) != 1 || ours[0]["kid"] == theirs[0]["kid"] {
			t.Fatalf("%v and %v", ours, theirs)
		}
		foreign := d.Want(200, "", d.Exchange("/t/acme", "web", d.Issuer.Token(d.URL+"/t/acme", "alice", nil)))
		db := testserver.OpenDatabase(t, d.DatabaseURL)
		for _, statement := range []string{ // somebody who can write to the database, but has no root secret
			`INSERT INTO signing_keys (tenant_id, kid, algorithm, sealed, root_version, created_at, activates_at)
				SELECT 'default', kid, algorithm, sealed, root_version, created_at, activates_at + 1 FROM signing_keys WHERE tenant_id = 'acme'`,
			"UPDATE tenants SET revision = revision + 1",
		} {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.OAuth.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if now := d.PublishedKeys(""); len(now) != 1 || now[0]["kid"] != ours[0]["kid"] {
			t.Errorf("published: %v", now)
		}
		if d.Active(foreign.Text("access_token")) {
			t.Error("a token of the other tenant's key is active")
		}
		if kid := testserver.TokenPart(t, d.SignIn("alice"), 0)["kid"]; kid != ours[0]["kid"] {
			t.Errorf("%v signs", kid)
		}
	})
}

func TestPrivateKeysAreSealedInTheDatabase(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		rows, err := testserver.OpenDatabase(t, d.DatabaseURL).Query("SELECT sealed FROM signing_keys")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		n := 0
		for rows.Next() {
			var sealed []byte
			if err := rows.Scan(&sealed); err != nil {
				t.Fatal(err)
			}
			n++
			// Every encoding of such a key contains the name of the curve P-256.
			if curve := []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}; len(sealed) < 64 || bytes.Contains(sealed, curve) || bytes.Contains(sealed, []byte("PRIVATE")) {
				t.Errorf("a key in the clear: %x", sealed)
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			t.Error("there is no key")
		}
	})
}

func TestUnknownKidsShareOneDatabaseRead(t *testing.T) {
	trace := &testserver.StatementLog{}
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: testdb.Postgres(t), Tracer: trace})
	payload := strings.Split(d.SignIn("alice").Text("access_token"), ".")[1]
	sent := trace.During(func() {
		testserver.InParallel(40, func(i int) *testserver.Answer {
			token := testserver.Base64(`{"alg":"ES256","typ":"at+jwt","kid":"made-up-`+strconv.Itoa(i)+`"}`) + "." + payload + "." + testserver.Base64(strings.Repeat("s", 64))
			if i%2 == 0 {
				return d.Post("/revoke", []string{"client_id", "web", "token", token})
			}
			if in := d.Introspect("", token); string(in.Body) != `{"active":false}` {
				t.Errorf("%d %s", in.Status, in.Body)
			}
			return nil
		})
	})
	if len(sent) == 0 || len(sent) > 20 {
		t.Errorf("40 requests send %d statements:\n%s", len(sent), strings.Join(sent, "\n"))
	}
}
