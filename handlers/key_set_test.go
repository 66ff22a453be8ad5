package handlers_test

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

// published are the keys at a tenant's jwks_uri.
func (w *world) published(base string) (keys []map[string]any) {
	w.t.Helper()
	for _, key := range w.want(200, "", w.Get(base+"/.well-known/jwks.json")).JSON["keys"].([]any) {
		keys = append(keys, key.(map[string]any))
	}
	return keys
}

func TestAKeySetHoldsPublicMembersAlone(t *testing.T) {
	for algorithm, c := range map[string]struct{ alg, kty, identity, also string }{ // RFC 7638 §3.2: what a key is known by
		"":        {"RS256", "RSA", "e kty n", "alg kid use"},
		"ES256":   {"ES256", "EC", "crv kty x y", "alg kid use"},
		"Ed25519": {"EdDSA", "OKP", "crv kty x", "alg kid use"},
	} {
		t.Run("signing_algorithm "+algorithm, func(t *testing.T) {
			w := newWorldThatSigns(t, algorithm)
			keys := w.published("")
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
			text, err := json.Marshal(identity) // its members come in the order that the thumbprint wants
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

func TestAKeySetMayBeKeptForFiveMinutes(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		w.Apply(testserver.Tenant("acme", w.issuer, testserver.Web()))
		for _, path := range []string{"/.well-known/jwks.json", "/t/acme/.well-known/jwks.json"} {
			a, head := w.want(200, "", w.Get(path)), w.Do(http.MethodHead, path, nil)
			for _, answer := range []*testserver.Answer{a, head} {
				h := answer.Header
				if answer.Status != 200 || h.Get("Content-Type") != "application/jwk-set+json" || h.Get("Cache-Control") != "public, max-age=300" || h.Get("ETag") == "" || h.Get("ETag") != a.Header.Get("ETag") {
					t.Errorf("%s: %d %v", path, answer.Status, h)
				}
			}
			again := w.Get(path, testserver.Header("If-None-Match", a.Header.Get("ETag")))
			if again.Status != 304 || len(again.Body)+len(head.Body) != 0 || again.Header.Get("Cache-Control") != "public, max-age=300" {
				t.Errorf("%s: %d with its ETag, %v", path, again.Status, again.Header)
			}
		}
		before := w.Get("/.well-known/jwks.json").Header.Get("ETag")
		if other := w.Get("/t/acme/.well-known/jwks.json").Header.Get("ETag"); other == before {
			t.Error("two key sets have one ETag")
		}
		w.want(404, "not_found", w.Get("/t/nobody/.well-known/jwks.json"))
		w.want(404, "not_found", w.Get("/.well-known/jwks.json/t/acme")) // jwks_uri alone says where keys are
	})
}

func TestNoKeyServesTwoTenants(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		w.Apply(testserver.Tenant("acme", w.issuer, testserver.Web(), testserver.Backend()))
		ours, theirs := w.published(""), w.published("/t/acme")
		if len(ours) != 1 || len(theirs) != 1 || ours[0]["kid"] == theirs[0]["kid"] {
			t.Fatalf("%v and %v", ours, theirs)
		}
		foreign := w.want(200, "", w.Exchange("/t/acme", "web", w.issuer.Token(w.URL+"/t/acme", "alice", nil)))
		db := openDatabase(t, w.DatabaseURL)
		for _, statement := range []string{ // somebody who can write to the database, but has no root secret
			`INSERT INTO signing_keys (tenant_id, kid, algorithm, sealed, root_version, created_at, activates_at)
				SELECT 'default', kid, algorithm, sealed, root_version, created_at, activates_at + 1 FROM signing_keys WHERE tenant_id = 'acme'`,
			"UPDATE tenants SET revision = revision + 1",
		} {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.OAuth.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if now := w.published(""); len(now) != 1 || now[0]["kid"] != ours[0]["kid"] {
			t.Errorf("published: %v", now)
		}
		if w.active(foreign.Text("access_token")) {
			t.Error("a token of the other tenant's key is active")
		}
		if kid := part(t, w.signIn("alice"), 0)["kid"]; kid != ours[0]["kid"] {
			t.Errorf("%v signs", kid)
		}
	})
}

func TestPrivateKeysAreSealedInTheDatabase(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		rows, err := openDatabase(t, w.DatabaseURL).Query("SELECT sealed FROM signing_keys")
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
			// The name of the curve P-256 stands in every encoding of such a key.
			if curve := []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}; len(sealed) < 64 || bytes.Contains(sealed, curve) || bytes.Contains(sealed, []byte("PRIVATE")) {
				t.Errorf("a key in the clear: %x", sealed)
			}
		}
		if n == 0 {
			t.Error("there is no key")
		}
	})
}

func TestKidsThatNobodyHasShareOneLookAtTheDatabase(t *testing.T) {
	trace := &statements{}
	w := newWorld(t, testserver.Options{DatabaseURL: testdb.Postgres(t), Tracer: trace})
	payload := strings.Split(w.signIn("alice").Text("access_token"), ".")[1]
	sent := trace.during(func() {
		inParallel(40, func(i int) *testserver.Answer {
			token := part64(`{"alg":"ES256","typ":"at+jwt","kid":"made-up-`+strconv.Itoa(i)+`"}`) + "." + payload + "." + part64(strings.Repeat("s", 64))
			if i%2 == 0 {
				return w.Post("/revoke", []string{"client_id", "web", "token", token})
			}
			if in := w.Introspect("", token); string(in.Body) != `{"active":false}` {
				t.Errorf("%d %s", in.Status, in.Body)
			}
			return nil
		})
	})
	if len(sent) == 0 || len(sent) > 20 {
		t.Errorf("40 requests send %d statements:\n%s", len(sent), strings.Join(sent, "\n"))
	}
}
