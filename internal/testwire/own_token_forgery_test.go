package testwire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
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
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

// keyEncodings returns encodings of a public key that an attacker could use as the
// secret of a MAC.
func keyEncodings(t *testing.T, public *rsa.PublicKey) map[string][]byte {
	t.Helper()
	pkix, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := json.Marshal(jose.JSONWebKey{Key: public})
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(public)
	return map[string][]byte{
		"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix}), "DER": pkix,
		"PKCS #1 in PEM": pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}), "PKCS #1": pkcs1,
		"JWK": jwk, "modulus": public.N.Bytes(),
	}
}

// withUnusedBit sets an unused bit in the last letter of a base64url text.
func withUnusedBit(token string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(letters, token[len(token)-1])
	return token[:len(token)-1] + string(letters[last^1])
}

func TestForgedTokensAreInactiveAndEndNothing(t *testing.T) {
	d := newDeploymentThatSigns(t, "RS256")
	d.Apply(settings.TenantSpec{ID: "acme", SigningAlgorithm: "RS256", TrustedIssuers: []settings.IssuerSpec{d.Issuer.Entry()}, Clients: []settings.ClientSpec{testserver.Web()}})
	good := d.SignIn("alice").Text("access_token")
	elsewhere := d.Want(200, "", d.Exchange("/t/acme", "web", d.Issuer.Token(d.URL+"/t/acme", "alice", nil))).Text("access_token")
	parts, theirs := strings.Split(good, "."), strings.Split(elsewhere, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	payload := string(raw)
	kid, _ := testserver.JWTHeader(t, good)["kid"].(string)
	n, err := base64.RawURLEncoding.DecodeString(d.PublishedKeys("")[0]["n"].(string))
	if err != nil {
		t.Fatal(err)
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}

	fetched := make(chan string, 100)
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { fetched <- r.URL.Path }))
	t.Cleanup(thief.Close)
	key := testserver.NewES256Key(t)
	stolen, err := json.Marshal(jose.JSONWebKey{Key: key.Public(), KeyID: kid, Algorithm: "ES256", Use: "sig"})
	if err != nil {
		t.Fatal(err)
	}
	// header has the server's kid and these members.
	header := func(members string) string { return `{"typ":"at+jwt","kid":"` + kid + `",` + members + `}` }
	none := func(string) []byte { return nil }
	rs := testserver.Signers()[0].Sign // an RSA key of somebody else
	const lists = `[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]`

	forgeries := map[string]string{
		"alg none without a signature":                   testserver.Forge(header(`"alg":"none"`), payload, none),
		"alg none with a signature":                      testserver.Forge(header(`"alg":"none"`), payload, rs),
		"alg nOnE":                                       testserver.Forge(header(`"alg":"nOnE"`), payload, rs),
		"no alg":                                         testserver.Forge(`{"typ":"at+jwt","kid":"`+kid+`"}`, payload, rs),
		"alg none with the server's signature":           testserver.Base64(header(`"alg":"none"`)) + "." + parts[1] + "." + parts[2],
		"another key with the server's kid":              testserver.Forge(header(`"alg":"RS256"`), payload, rs),
		"PS256 with the server's kid":                    testserver.Forge(header(`"alg":"PS256"`), payload, testserver.Signers()[1].Sign),
		"ES256 with the server's kid":                    testserver.Forge(header(`"alg":"ES256"`), payload, testserver.ES256(key)),
		"a key in the header":                            testserver.Forge(header(`"alg":"ES256","jwk":`+string(stolen)), payload, testserver.ES256(key)),
		"a key set that the header names":                testserver.Forge(header(`"alg":"ES256","jku":"`+thief.URL+`/jku"`), payload, testserver.ES256(key)),
		"a certificate that the header names":            testserver.Forge(header(`"alg":"ES256","x5u":"`+thief.URL+`/x5u"`), payload, testserver.ES256(key)),
		"a key in the header, without kid":               testserver.Forge(`{"typ":"at+jwt","alg":"ES256","jwk":`+string(stolen)+`}`, payload, testserver.ES256(key)),
		"no kid":                                         testserver.Forge(`{"typ":"at+jwt","alg":"RS256"}`, payload, rs),
		"a kid that looks like a path":                   testserver.Forge(`{"typ":"at+jwt","alg":"RS256","kid":"../../x"}`, payload, rs),
		"a kid that looks like SQL":                      testserver.Forge(`{"typ":"at+jwt","alg":"RS256","kid":"' OR 1=1"}`, payload, rs),
		"a kid of 10 kB":                                 testserver.Forge(`{"typ":"at+jwt","alg":"RS256","kid":"`+strings.Repeat("k", 10_000)+`"}`, "{}", rs),
		"crit":                                           testserver.Forge(header(`"alg":"RS256","crit":["exp"]`), payload, rs),
		"the server's header with another payload":       parts[0] + "." + testserver.Base64(strings.Replace(payload, "alice", "admin", 1)) + "." + parts[2],
		"another header with the server's payload":       testserver.Base64(header(`"alg":"RS256"`)) + "." + parts[1] + "." + parts[2],
		"another tenant's token":                         elsewhere,
		"another tenant's header and signature":          theirs[0] + "." + parts[1] + "." + theirs[2],
		"the trusted issuer's key with the server's iss": testserver.Forge(`{"typ":"at+jwt","alg":"ES256","kid":"test-key"}`, payload, testserver.ES256(d.Issuer.Key.(*ecdsa.PrivateKey))),
		"two sub members":                                parts[0] + "." + testserver.Base64(`{"sub":"admin",`+payload[1:]) + "." + parts[2],
		"seventeen levels":                               testserver.Forge(header(`"alg":"RS256","a":`+lists), payload, rs),
		"a signature of zeros":                           parts[0] + "." + parts[1] + "." + testserver.Base64(string(make([]byte, 256))),
		"no signature":                                   parts[0] + "." + parts[1] + ".",
		"an unused bit that is set":                      withUnusedBit(good),
		"padding":                                        good + "==",
		"a space after":                                  good + " ",
		"a newline inside":                               good[:40] + "\n" + good[40:],
		"an additional part":                             good + "." + parts[2],
		"the JSON serialization":                         `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"the general JSON serialization":                 `{"payload":"` + parts[1] + `","signatures":[{"protected":"` + parts[0] + `","signature":"` + parts[2] + `"}]}`,
		"a token inside a token":                         testserver.Forge(header(`"alg":"RS256","cty":"JWT"`), good, rs),
		"a JWE with a huge iteration count":              testserver.Base64(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483647}`) + ".a.b.c.d",
		"a JWE that would unzip":                         testserver.Base64(`{"alg":"dir","enc":"A128GCM","zip":"DEF"}`) + "..b.c.d",
		"16 KiB of dots":                                 strings.Repeat(".", 16<<10),
	}
	for name, secret := range keyEncodings(t, public) {
		forgeries["a MAC with our key as "+name] = testserver.Forge(header(`"alg":"HS256"`), payload, testserver.HS256(secret))
	}
	for name, token := range forgeries {
		t.Run(name, func(t *testing.T) {
			if in := d.Introspect("", token); in.Status != 200 || string(in.Body) != `{"active":false}` {
				t.Errorf("introspected: %d %s", in.Status, in.Body)
			}
			if a := d.Post("/revoke", []string{"client_id", "web", "token", token}); a.Status != 200 || len(a.Body) != 0 {
				t.Errorf("revoked: %d %s", a.Status, a.Body)
			}
			if in := d.Introspect("", good); in.JSON["active"] != true {
				t.Error("a forgery signed the user out")
			}
		})
	}
	if len(fetched) > 0 {
		t.Errorf("%s was fetched", <-fetched)
	}
}

func TestExchangeRejectsAMACWithAnRSAKey(t *testing.T) {
	d, p := testserver.NewExchanger(t, testdb.SQLite(t)), testserver.NewProvider(t)
	rsaSigner := testserver.Signers()[0]
	for _, algorithms := range [][]string{nil, {"RS256", "PS256", "ES256", "EdDSA"}} {
		entry := p.Entry(settings.IssuerKeys{JWKSURI: p.URL + "/keys"})
		entry.Algorithms = algorithms
		d.Reconfigure(testserver.Trusting(entry))
		for name, secret := range keyEncodings(t, rsaSigner.Public.(*rsa.PublicKey)) {
			for _, kid := range []string{"RS256", ""} {
				t.Run(name+" with the kid "+kid, func(t *testing.T) {
					d.WantRejected(t, testserver.TypeJWT, p.Token(d, testserver.Signer{Algorithm: "HS256", Sign: testserver.HS256(secret)}, kid, nil))
				})
			}
		}
		d.WantAccepted(t, testserver.TypeJWT, p.Token(d, rsaSigner, "RS256", nil))
	}
}

func TestExchangeRejectsAShortRSAKey(t *testing.T) {
	d, p := testserver.NewExchanger(t, testdb.SQLite(t)), testserver.NewProvider(t)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: short.Public(), KeyID: "short", Algorithm: "RS256", Use: "sig"},
		{Key: testserver.Signers()[0].Public, KeyID: "long", Algorithm: "RS256", Use: "sig"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	d.Reconfigure(testserver.Trusting(p.Entry(settings.IssuerKeys{JWKS: set})))
	d.WantRejected(t, testserver.TypeJWT, p.Token(d, testserver.Signer{Algorithm: "RS256", Sign: func(input string) []byte {
		digest := sha256.Sum256([]byte(input))
		signature, err := rsa.SignPKCS1v15(rand.Reader, short, crypto.SHA256, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}}, "short", nil))
	d.WantAccepted(t, testserver.TypeJWT, p.Token(d, testserver.Signers()[0], "long", nil))
}

func TestExchangeFetchesKeysForAnUnknownKidEvery30Seconds(t *testing.T) {
	d, p := testserver.NewExchanger(t, testdb.SQLite(t)), testserver.NewProvider(t)
	d.Reconfigure(testserver.Trusting(p.Entry(settings.IssuerKeys{JWKSURI: p.URL + "/keys"})))
	es := testserver.Signers()[2]
	d.WantAccepted(t, testserver.TypeJWT, p.Token(d, es, es.Algorithm, nil))
	for round := range 3 {
		if n := len(p.Requests); n != round+1 {
			t.Errorf("%d fetches in round %d", n, round)
		}
		for range 10 {
			d.WantRejected(t, testserver.TypeJWT, p.Token(d, es, "made-up", nil))
		}
		if n := len(p.Requests); n != round+1 {
			t.Errorf("%d fetches within 30 s in round %d", n, round)
		}
		d.Clock.Advance(30 * time.Second)
		d.WantRejected(t, testserver.TypeJWT, p.Token(d, es, "made-up", nil))
	}
}
