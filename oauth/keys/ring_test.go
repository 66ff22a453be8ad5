package keys

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/internal/testjose"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/jws"
)

// newRow returns a sealed key of tenant "default" that activates that long after epoch.
func newRow(t *testing.T, k *Roots, algorithm string, activates time.Duration) models.SigningKey {
	t.Helper()
	row, err := k.NewSigningKey("default", algorithm, epoch, epoch.Add(activates))
	if err != nil {
		t.Fatal(err)
	}
	return row
}

func ringOf(t *testing.T, k *Roots, rows ...models.SigningKey) *Ring {
	t.Helper()
	ring, err := NewRing(k, rows, jws.TypAccessToken)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func signedAt(t *testing.T, ring *Ring, now time.Time) string {
	t.Helper()
	token, err := ring.Sign(now, jws.TypAccessToken, map[string]any{"sub": "alice"})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestKeyRingSignsAndVerifiesByKid(t *testing.T) {
	k := keysOf(t, rootA)
	const day = 24 * time.Hour
	for algorithm, alg := range map[string]string{"RS256": "RS256", "ES256": "ES256", "Ed25519": "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			first, second := newRow(t, k, algorithm, 0), newRow(t, k, algorithm, day)
			ring := ringOf(t, k, first, second)
			old := signedAt(t, ring, epoch)
			header, err := jws.Parse(old)
			if err != nil || header.Kid != first.Kid || header.Alg != alg || header.Typ != "at+jwt" {
				t.Fatalf("%+v, %v", header, err)
			}
			if young, _ := jws.Parse(signedAt(t, ring, epoch.Add(day))); young == nil || young.Kid != second.Kid {
				t.Errorf("the second key does not sign: %+v", young)
			}
			for name, c := range map[string]struct {
				after time.Duration
				want  error
			}{
				"while its key signs":              {0, nil},
				"while its key only verifies":      {day, nil},
				"until the last moment of its key": {2*day + 29*time.Second, nil},
				"after the last moment of its key": {2*day + 30*time.Second, ErrUnknownKid},
				"before its key activates":         {-time.Hour, nil}, // announced keys are published, and verify
			} {
				typ, payload, err := ring.Verify(epoch.Add(c.after), old)
				if !errors.Is(err, c.want) || c.want == nil && (typ != "at+jwt" || string(payload) != `{"sub":"alice"}`) {
					t.Errorf("%s: %q %s %v", name, typ, payload, err)
				}
			}
		})
	}
}

func TestKeyRingRejects(t *testing.T) {
	k := keysOf(t, rootA)
	row := newRow(t, k, "ES256", 0)
	ring := ringOf(t, k, row)
	good := signedAt(t, ring, epoch)
	foreign := signedAt(t, ringOf(t, k, newRow(t, k, "ES256", 0)), epoch)
	if _, _, err := ring.Verify(epoch, good); err != nil { // and caches it
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	// relabelled returns a token with another header, signed by fn.
	relabelled := func(header string, fn func(signingInput string) []byte) string {
		input := testjose.Base64(header) + "." + parts[1]
		return input + "." + testjose.Base64(string(fn(input)))
	}
	same := func(string) []byte { return []byte(strings.Repeat("s", 64)) }
	twice := func(in string) []byte { d := sha256.Sum256([]byte(in)); return append(d[:], d[:]...) }
	public, _ := x509.MarshalPKIXPublicKey(ring.byKid[row.Kid].public.Key)
	for name, token := range map[string]string{
		"a token of another ring":               foreign,
		"a token of another ring under our kid": relabelled(`{"alg":"ES256","kid":"`+row.Kid+`"}`, func(string) []byte { return []byte(foreign[len(foreign)-64:]) }),
		"a token without kid":                   relabelled(`{"alg":"ES256"}`, same),
		"a kid that differs in case":            relabelled(`{"alg":"ES256","kid":"`+strings.ToUpper(row.Kid)+`"}`, same),
		"an alg that does not match the key":    relabelled(`{"alg":"RS256","kid":"`+row.Kid+`"}`, same),
		"alg none":                              relabelled(`{"alg":"alg none","kid":"`+row.Kid+`"}`, same),
		"HS256 with the public key as secret":   relabelled(`{"alg":"HS256","kid":"`+row.Kid+`"}`, func(in string) []byte { return mac(public, []byte(in)) }),
		"a public key in the header":            relabelled(`{"alg":"ES256","jwk":{"kty":"EC"}}`, same),
		"another payload":                       parts[0] + "." + testjose.Base64(`{"sub":"bob"}`) + "." + parts[2],
		"a signature of another length":         parts[0] + "." + parts[1] + "." + testjose.Base64("short"),
		"a signature with an additional byte":   good + "AAAA",
		"a signature with a newline":            good[:len(good)-4] + "\n" + good[len(good)-4:],
		"no signature":                          parts[0] + "." + parts[1] + ".",
		"a signature that is the digest":        relabelled(`{"alg":"ES256","kid":"`+row.Kid+`"}`, twice),
	} {
		if _, payload, err := ring.Verify(epoch, token); err == nil {
			t.Errorf("%s is accepted: %s", name, payload)
		}
	}
	if _, _, err := ring.Verify(epoch, foreign); !errors.Is(err, ErrUnknownKid) {
		t.Errorf("an unknown kid returns %v, so the node would not look for a key that another node has just made", err)
	}
}

func TestKeyRingLeavesOutKeysThatDoNotMatchTheirRow(t *testing.T) {
	k, stranger := keysOf(t, rootA), keysOf(t, rootB)
	good, second := newRow(t, k, "ES256", 0), newRow(t, k, "ES256", time.Hour)
	der := func(row models.SigningKey) []byte {
		plain, err := k.open("signing-key", "default", row.Kid, row.Algorithm, row.Sealed, row.RootVersion)
		if err != nil {
			t.Fatal(err)
		}
		return plain
	}
	change := func(fn func(*models.SigningKey)) models.SigningKey { c := second; fn(&c); return c }
	reseal := func(row *models.SigningKey, plain []byte) {
		row.Sealed, row.RootVersion = k.seal("signing-key", row.TenantID, row.Kid, row.Algorithm, plain)
	}
	for name, bad := range map[string]models.SigningKey{
		"a key copied from another tenant":                change(func(r *models.SigningKey) { r.TenantID = "shop" }),
		"a kid with the sealed part of another":           change(func(r *models.SigningKey) { r.Sealed = good.Sealed }),
		"a kid under which another key was sealed":        change(func(r *models.SigningKey) { reseal(r, der(good)) }),
		"a key whose algorithm was changed":               change(func(r *models.SigningKey) { r.Algorithm = "RS256" }),
		"a public key instead of a private one":           change(func(r *models.SigningKey) { r.Sealed = []byte("-----BEGIN PUBLIC KEY-----") }),
		"a sealed text that is not a key":                 change(func(r *models.SigningKey) { reseal(r, []byte("not a key")) }),
		"a key without its sealed part":                   change(func(r *models.SigningKey) { r.Sealed = nil }),
		"a key sealed with a root that is not configured": newRow(t, stranger, "ES256", time.Hour),
		"a shared secret instead of a signing key": change(func(r *models.SigningKey) {
			r.Sealed, r.RootVersion = k.seal("shared-secret", r.TenantID, r.Kid, r.Algorithm, der(second))
		}),
	} {
		t.Run(name, func(t *testing.T) {
			ring, err := NewRing(k, []models.SigningKey{good, bad}, jws.TypAccessToken)
			if err == nil || !strings.Contains(err.Error(), bad.Kid) {
				t.Errorf("the error does not name the key: %v", err)
			}
			if key, err := ring.active(epoch.Add(time.Hour)); err == nil && key.kid != good.Kid {
				t.Errorf("it signs as %s", key.kid)
			}
			if set := ring.JWKS(epoch.Add(time.Hour)); len(set.Keys) != 1 || set.Keys[0].KeyID != good.Kid {
				t.Errorf("published: %+v", set)
			}
			if _, _, err := ring.Verify(epoch.Add(time.Hour), signedAt(t, ring, epoch)); err != nil {
				t.Errorf("the good key cannot be used: %v", err)
			}
		})
	}
}

func TestKeySetHasPublicKeysInService(t *testing.T) {
	k := keysOf(t, rootA)
	const day = 24 * time.Hour
	rows := []models.SigningKey{newRow(t, k, "RS256", 0), newRow(t, k, "ES256", day), newRow(t, k, "Ed25519", 3*day)}
	ring := ringOf(t, k, rows...)
	for after, want := range map[time.Duration][]string{
		0:       {rows[2].Kid, rows[1].Kid, rows[0].Kid}, // including announced keys
		day:     {rows[2].Kid, rows[1].Kid, rows[0].Kid},
		3 * day: {rows[2].Kid, rows[1].Kid},
		5 * day: {rows[2].Kid},
	} {
		var got []string
		for _, key := range ring.JWKS(epoch.Add(after)).Keys {
			got = append(got, key.KeyID)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("after %v: %v, want %v", after, got, want)
		}
	}
	text, err := json.Marshal(ring.JWKS(epoch))
	if err != nil {
		t.Fatal(err)
	}
	for _, private := range []string{`"d"`, `"p"`, `"q"`, `"k"`, `"dp"`} {
		if strings.Contains(string(text), private) {
			t.Errorf("the key set contains %s: %s", private, text)
		}
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	for _, key := range set.Keys {
		if kid, err := Thumbprint(key.Key); err != nil || kid != key.KeyID || key.Use != "sig" || key.Algorithm == "" || !key.IsPublic() {
			t.Errorf("%+v: thumbprint %s", key, kid)
		}
	}
}

// ownKey returns a ring with one key, and a function that signs any token with it.
func ownKey(t *testing.T) (ring *Ring, kid string, pen func(header, payload string) string) {
	t.Helper()
	k := keysOf(t, rootA)
	row := newRow(t, k, "Ed25519", 0)
	ring = ringOf(t, k, row)
	return ring, row.Kid, func(header, payload string) string {
		input := testjose.Base64(header) + "." + testjose.Base64(payload)
		signature, err := ring.byKid[row.Kid].private.Sign(rand.Reader, []byte(input), crypto.Hash(0))
		if err != nil {
			t.Fatal(err)
		}
		return input + "." + testjose.Base64(string(signature))
	}
}

// Only this server can make such signatures. Malformed tokens are rejected all
// the same, but not because of their signature.
func TestKeyRingRejectsMalformedTokensOfItsOwnKey(t *testing.T) {
	ring, kid, pen := ownKey(t)
	with := func(members string) string { return `{"alg":"EdDSA","kid":"` + kid + `"` + members + `}` }
	if _, _, err := ring.Verify(epoch, pen(with(""), `{}`)); err != nil {
		t.Fatalf("the token that the others are made from: %v", err)
	}
	for name, header := range map[string]string{
		"crit":                                with(`,"crit":["exp"]`),
		"an empty crit":                       with(`,"crit":[]`),
		"b64":                                 with(`,"b64":true`),
		"zip":                                 with(`,"zip":"DEF"`),
		"enc":                                 with(`,"enc":"A128GCM"`),
		"alg twice":                           with(`,"alg":"EdDSA"`),
		"a member twice, one of them escaped": with(`,"\u006bid":"` + kid + `"`),
		"two members further inside":          with(`,"a":{"b":1,"b":1}`),
		"data after the header":               with("") + "{}",
		"invalid UTF-8":                       with(`,"a":"` + "\xff" + `"`),
		"more than 4 KiB":                     with(`,"a":"` + strings.Repeat("a", 4<<10) + `"`),
		"seventeen levels":                    with(`,"a":` + testjose.Nested(16)),
		"no alg":                              `{"kid":"` + kid + `"}`,
		"alg none":                            `{"alg":"none","kid":"` + kid + `"}`,
		"its alg in another case":             `{"alg":"eddsa","kid":"` + kid + `"}`,
		"its alg under another name":          `{"alg":"Ed25519","kid":"` + kid + `"}`,
		"another alg":                         `{"alg":"ES256","kid":"` + kid + `"}`,
		"no kid":                              `{"alg":"EdDSA"}`,
		"an empty kid":                        `{"alg":"EdDSA","kid":""}`,
		"a kid that is a list":                `{"alg":"EdDSA","kid":["` + kid + `"]}`,
		"its kid with a space":                `{"alg":"EdDSA","kid":"` + kid + ` "}`,
	} {
		if _, payload, err := ring.Verify(epoch, pen(header, `{}`)); err == nil {
			t.Errorf("%s: accepted with the payload %s", name, payload)
		}
	}
	if _, _, err := ring.Verify(epoch, pen(with(""), `{"a":"`+strings.Repeat("a", 12<<10)+`"}`)); err == nil {
		t.Error("a token of more than 16 KiB is accepted")
	}
}
