package handlers_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

func part64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// forge makes a token with exactly this header and payload, signed by sign.
func forge(header, payload string, sign func(input string) []byte) string {
	input := part64(header) + "." + part64(payload)
	return input + "." + part64(string(sign(input)))
}

// es256 signs as JWS has it: r and s in 32 bytes each (RFC 7518 §3.4).
func es256(key *ecdsa.PrivateKey) func(string) []byte {
	return func(input string) []byte {
		digest := sha256.Sum256([]byte(input))
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			panic(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
}

func hs256(secret []byte) func(string) []byte {
	return func(input string) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(input))
		return h.Sum(nil)
	}
}

func newES256Key(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// payload is that of a good token, as text.
func (d *desk) payload() string {
	text, err := json.Marshal(d.issuer.Claims(d.URL, "alice"))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

func TestExchangeRefusesAForgery(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t))
	private := d.issuer.Key.(*ecdsa.PrivateKey)
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	key := es256(private)
	none := func(string) []byte { return nil }
	zeros := func(string) []byte { return make([]byte, 64) }
	// with is a header like the good one with further members.
	with := func(members string) string { return `{"alg":"ES256","kid":"test-key"` + members + `}` }
	instead := func(old, new string) string { return strings.Replace(d.payload(), old, new, 1) }
	good := forge(with(""), d.payload(), key)
	parts := strings.Split(good, ".")
	lists := strings.Repeat("[", 16) + strings.Repeat("]", 16)
	const hs = `{"alg":"HS256","kid":"test-key"}`
	for name, token := range map[string]string{
		"alg none without a signature":  forge(`{"alg":"none"}`, d.payload(), none),
		"alg none with a signature":     forge(`{"alg":"none","kid":"test-key"}`, d.payload(), key),
		"alg None":                      forge(`{"alg":"None","kid":"test-key"}`, d.payload(), key),
		"alg nOnE":                      forge(`{"alg":"nOnE","kid":"test-key"}`, d.payload(), key),
		"an empty alg":                  forge(`{"alg":"","kid":"test-key"}`, d.payload(), key),
		"no alg":                        forge(`{"kid":"test-key"}`, d.payload(), key),
		"an alg that is not listed":     forge(`{"alg":"ES384","kid":"test-key"}`, d.payload(), key),
		"an alg in another case":        forge(`{"alg":"es256","kid":"test-key"}`, d.payload(), key),
		"its alg under another name":    forge(`{"ALG":"ES256","kid":"test-key"}`, d.payload(), key),
		"a MAC with the public key":     forge(hs, d.payload(), hs256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))),
		"a MAC with the key's DER":      forge(hs, d.payload(), hs256(der)),
		"a MAC with the key set":        forge(hs, d.payload(), hs256(d.issuer.JWKS())),
		"a MAC with nothing":            forge(hs, d.payload(), hs256(nil)),
		"another key":                   forge(with(""), d.payload(), es256(newES256Key(t))),
		"a signature of zeros":          forge(with(""), d.payload(), zeros),
		"no signature":                  forge(with(""), d.payload(), none),
		"another token's signature":     parts[0] + "." + part64(instead("alice", "bob")) + "." + parts[2],
		"a kid that nobody has":         forge(`{"alg":"ES256","kid":"other"}`, d.payload(), key),
		"a kid that looks like a path":  forge(`{"alg":"ES256","kid":"../../x"}`, d.payload(), key),
		"a kid that looks like SQL":     forge(`{"alg":"ES256","kid":"' OR 1=1"}`, d.payload(), key),
		"a kid of 10 kB":                forge(`{"alg":"ES256","kid":"`+strings.Repeat("k", 10_000)+`"}`, d.payload(), key),
		"crit":                          forge(with(`,"crit":["exp"]`), d.payload(), key),
		"b64":                           forge(with(`,"b64":true`), d.payload(), key),
		"zip":                           forge(with(`,"zip":"DEF"`), d.payload(), key),
		"two sub members":               forge(with(""), instead("{", `{"sub":"bob",`), key),
		"a second sub that is escaped":  forge(with(""), instead("{", `{"\u0073ub":"bob",`), key),
		"two members further inside":    forge(with(""), instead("{", `{"a":[{"b":1,"b":2}],`), key),
		"data after the payload":        forge(with(""), d.payload()+"{}", key),
		"invalid UTF-8":                 forge(with(""), instead("alice", "al\xffice"), key),
		"seventeen levels":              forge(with(""), instead("{", `{"a":`+lists+`,`), key),
		"an exp beyond every number":    forge(with(""), instead(`"exp":`, `"exp":1e999,"was":`), key),
		"a header over 4 KiB":           forge(with(`,"a":"`+strings.Repeat("a", 4<<10)+`"`), d.payload(), key),
		"a newline inside":              good[:40] + "\n" + good[40:],
		"padding":                       good + "==",
		"a space after":                 good + " ",
		"a part more":                   good + "." + parts[2],
		"a JWE that would take years":   part64(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483647}`) + ".a.b.c.d",
		"a JWE that would unzip":        part64(`{"alg":"dir","enc":"A128GCM","zip":"DEF"}`) + "..b.c.d",
		"the JSON serialization":        `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"a token inside a token":        forge(with(`,"cty":"JWT"`), good, key),
		"16 KiB of dots":                strings.Repeat(".", 16<<10),
		"a letter":                      "x",
		"the typ at+jwt behind another": forge(with(`,"typ":"at+jwt","Typ":"JWT"`), d.payload(), key),
	} {
		t.Run(name, func(t *testing.T) { d.refuses(t, ofJWT, token) })
	}
	t.Run("a megabyte of dots", func(t *testing.T) {
		if a := d.present(ofJWT, strings.Repeat(".", 1<<20)); a.Status != http.StatusRequestEntityTooLarge || a.Error() != "invalid_request" {
			t.Errorf("answered %d %s", a.Status, a.Body)
		}
	})
	d.takes(t, ofJWT, good) // what the others were made from
}

func TestExchangeTellsSubjectTokensByTheirTyp(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t))
	key := es256(d.issuer.Key.(*ecdsa.PrivateKey))
	for _, typ := range strings.Fields(`at+jwt AT+JWT application/at+jwt token-introspection+jwt logout+jwt secevent+jwt
		statuslist+jwt dpop+jwt client-authentication+jwt JOSE client-token+jwt`) {
		t.Run("refuses "+typ, func(t *testing.T) {
			d.refuses(t, ofJWT, forge(`{"alg":"ES256","kid":"test-key","typ":"`+typ+`"}`, d.payload(), key))
		})
	}
	for _, typ := range []string{"JWT", "jwt", "application/JWT"} {
		t.Run("takes "+typ, func(t *testing.T) {
			d.takes(t, ofJWT, forge(`{"alg":"ES256","kid":"test-key","typ":"`+typ+`"}`, d.payload(), key))
		})
	}
}

func TestExchangeIgnoresKeysThatAHeaderBrings(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t))
	fetched := make(chan string, 10)
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { fetched <- r.URL.Path }))
	t.Cleanup(thief.Close)
	attacker := testserver.NewIssuer(t, d.Clock)
	private := attacker.Key.(*ecdsa.PrivateKey)
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(attacker.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	for name, member := range map[string]string{
		"jwk": `"jwk":` + string(set.Keys[0]),
		"jku": `"jku":"` + thief.URL + `/jku"`,
		"x5u": `"x5u":"` + thief.URL + `/x5u"`,
		"x5c": `"x5c":["` + base64.StdEncoding.EncodeToString(certificate) + `"]`,
	} {
		for _, kid := range []string{`,"kid":"test-key"`, `,"kid":"attacker"`, ``} {
			d.refuses(t, ofJWT, forge(`{"alg":"ES256",`+member+kid+`}`, d.payload(), es256(private)))
		}
		t.Run(name+" beside the right signature", func(t *testing.T) {
			d.takes(t, ofJWT, forge(`{"alg":"ES256","kid":"test-key",`+member+`}`, d.payload(), es256(d.issuer.Key.(*ecdsa.PrivateKey))))
		})
	}
	if len(fetched) > 0 {
		t.Errorf("%s was fetched", <-fetched)
	}
}
