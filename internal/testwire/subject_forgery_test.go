package testwire

import (
	"crypto/ecdsa"
	"crypto/rand"
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

func TestExchangeRejectsAForgery(t *testing.T) {
	d := testserver.NewExchanger(t, testdb.SQLite(t))
	private := d.Issuer.Key.(*ecdsa.PrivateKey)
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	key := testserver.ES256(private)
	none := func(string) []byte { return nil }
	zeros := func(string) []byte { return make([]byte, 64) }
	// with returns a valid header with additional members.
	with := func(members string) string { return `{"alg":"ES256","kid":"test-key"` + members + `}` }
	instead := func(old, new string) string { return strings.Replace(d.Payload(), old, new, 1) }
	good := testserver.Forge(with(""), d.Payload(), key)
	parts := strings.Split(good, ".")
	lists := strings.Repeat("[", 16) + strings.Repeat("]", 16)
	const hs = `{"alg":"HS256","kid":"test-key"}`
	for name, token := range map[string]string{
		"alg none without a signature":      testserver.Forge(`{"alg":"none"}`, d.Payload(), none),
		"alg none with a signature":         testserver.Forge(`{"alg":"none","kid":"test-key"}`, d.Payload(), key),
		"alg None":                          testserver.Forge(`{"alg":"None","kid":"test-key"}`, d.Payload(), key),
		"alg nOnE":                          testserver.Forge(`{"alg":"nOnE","kid":"test-key"}`, d.Payload(), key),
		"an empty alg":                      testserver.Forge(`{"alg":"","kid":"test-key"}`, d.Payload(), key),
		"no alg":                            testserver.Forge(`{"kid":"test-key"}`, d.Payload(), key),
		"an alg that is not listed":         testserver.Forge(`{"alg":"ES384","kid":"test-key"}`, d.Payload(), key),
		"an alg in another case":            testserver.Forge(`{"alg":"es256","kid":"test-key"}`, d.Payload(), key),
		"its alg under another name":        testserver.Forge(`{"ALG":"ES256","kid":"test-key"}`, d.Payload(), key),
		"a MAC with the public key":         testserver.Forge(hs, d.Payload(), testserver.HS256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))),
		"a MAC with the key's DER":          testserver.Forge(hs, d.Payload(), testserver.HS256(der)),
		"a MAC with the key set":            testserver.Forge(hs, d.Payload(), testserver.HS256(d.Issuer.JWKS())),
		"a MAC with nothing":                testserver.Forge(hs, d.Payload(), testserver.HS256(nil)),
		"another key":                       testserver.Forge(with(""), d.Payload(), testserver.ES256(testserver.NewES256Key(t))),
		"a signature of zeros":              testserver.Forge(with(""), d.Payload(), zeros),
		"no signature":                      testserver.Forge(with(""), d.Payload(), none),
		"another token's signature":         parts[0] + "." + testserver.Base64(instead("alice", "bob")) + "." + parts[2],
		"an unknown kid":                    testserver.Forge(`{"alg":"ES256","kid":"other"}`, d.Payload(), key),
		"a kid that looks like a path":      testserver.Forge(`{"alg":"ES256","kid":"../../x"}`, d.Payload(), key),
		"a kid that looks like SQL":         testserver.Forge(`{"alg":"ES256","kid":"' OR 1=1"}`, d.Payload(), key),
		"a kid of 10 kB":                    testserver.Forge(`{"alg":"ES256","kid":"`+strings.Repeat("k", 10_000)+`"}`, d.Payload(), key),
		"crit":                              testserver.Forge(with(`,"crit":["exp"]`), d.Payload(), key),
		"b64":                               testserver.Forge(with(`,"b64":true`), d.Payload(), key),
		"zip":                               testserver.Forge(with(`,"zip":"DEF"`), d.Payload(), key),
		"two sub members":                   testserver.Forge(with(""), instead("{", `{"sub":"bob",`), key),
		"a second sub that is escaped":      testserver.Forge(with(""), instead("{", `{"\u0073ub":"bob",`), key),
		"two members further inside":        testserver.Forge(with(""), instead("{", `{"a":[{"b":1,"b":2}],`), key),
		"data after the payload":            testserver.Forge(with(""), d.Payload()+"{}", key),
		"invalid UTF-8":                     testserver.Forge(with(""), instead("alice", "al\xffice"), key),
		"seventeen levels":                  testserver.Forge(with(""), instead("{", `{"a":`+lists+`,`), key),
		"an exp beyond every number":        testserver.Forge(with(""), instead(`"exp":`, `"exp":1e999,"was":`), key),
		"a header over 4 KiB":               testserver.Forge(with(`,"a":"`+strings.Repeat("a", 4<<10)+`"`), d.Payload(), key),
		"a newline inside":                  good[:40] + "\n" + good[40:],
		"padding":                           good + "==",
		"a space after":                     good + " ",
		"an additional part":                good + "." + parts[2],
		"a JWE with a huge iteration count": testserver.Base64(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483647}`) + ".a.b.c.d",
		"a JWE that would unzip":            testserver.Base64(`{"alg":"dir","enc":"A128GCM","zip":"DEF"}`) + "..b.c.d",
		"the JSON serialization":            `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"a token inside a token":            testserver.Forge(with(`,"cty":"JWT"`), good, key),
		"16 KiB of dots":                    strings.Repeat(".", 16<<10),
		"a letter":                          "x",
		"the typ at+jwt behind another":     testserver.Forge(with(`,"typ":"at+jwt","Typ":"JWT"`), d.Payload(), key),
	} {
		t.Run(name, func(t *testing.T) { d.WantRejected(t, testserver.TypeJWT, token) })
	}
	t.Run("a megabyte of dots", func(t *testing.T) {
		if a := d.Present(testserver.TypeJWT, strings.Repeat(".", 1<<20)); a.Status != http.StatusRequestEntityTooLarge || a.Error() != "invalid_request" {
			t.Errorf("status %d %s", a.Status, a.Body)
		}
	})
	d.WantAccepted(t, testserver.TypeJWT, good) // the token from which the others were made
}

func TestExchangeDistinguishesSubjectTokensByTyp(t *testing.T) {
	d := testserver.NewExchanger(t, testdb.SQLite(t))
	key := testserver.ES256(d.Issuer.Key.(*ecdsa.PrivateKey))
	for _, typ := range strings.Fields(`at+jwt AT+JWT application/at+jwt token-introspection+jwt logout+jwt secevent+jwt
		statuslist+jwt dpop+jwt client-authentication+jwt JOSE client-token+jwt`) {
		t.Run("rejects "+typ, func(t *testing.T) {
			d.WantRejected(t, testserver.TypeJWT, testserver.Forge(`{"alg":"ES256","kid":"test-key","typ":"`+typ+`"}`, d.Payload(), key))
		})
	}
	for _, typ := range []string{"JWT", "jwt", "application/JWT"} {
		t.Run("accepts "+typ, func(t *testing.T) {
			d.WantAccepted(t, testserver.TypeJWT, testserver.Forge(`{"alg":"ES256","kid":"test-key","typ":"`+typ+`"}`, d.Payload(), key))
		})
	}
}

func TestExchangeIgnoresKeysInAHeader(t *testing.T) {
	d := testserver.NewExchanger(t, testdb.SQLite(t))
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
			d.WantRejected(t, testserver.TypeJWT, testserver.Forge(`{"alg":"ES256",`+member+kid+`}`, d.Payload(), testserver.ES256(private)))
		}
		t.Run(name+" beside the right signature", func(t *testing.T) {
			d.WantAccepted(t, testserver.TypeJWT, testserver.Forge(`{"alg":"ES256","kid":"test-key",`+member+`}`, d.Payload(), testserver.ES256(d.Issuer.Key.(*ecdsa.PrivateKey))))
		})
	}
	if len(fetched) > 0 {
		t.Errorf("%s was fetched", <-fetched)
	}
}
