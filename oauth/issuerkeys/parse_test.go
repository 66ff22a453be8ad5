package issuerkeys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/internal/testjose"
)

// Keys of other issuers, made once. The RSA keys only look like keys: nothing
// here is signed with them.
var (
	rsa2048   = fakeRSA(2048)
	rsa2047   = fakeRSA(2047)
	ecKeys    = map[string]*ecdsa.PrivateKey{"P-256": newEC(elliptic.P256()), "P-384": newEC(elliptic.P384()), "P-521": newEC(elliptic.P521()), "P-224": newEC(elliptic.P224())}
	edPublic  = ed25519.PublicKey(strings.Repeat("e", 32))
	edPrivate = ed25519.NewKeyFromSeed([]byte(strings.Repeat("e", 32)))
)

func fakeRSA(bits uint) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}
}

func newEC(curve elliptic.Curve) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// jwk returns a key as JSON with additional members.
func jwk(key any, kid string, members string) string {
	text, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: kid})
	if err != nil {
		panic(err)
	}
	return strings.TrimSuffix(string(text), "}") + members + "}"
}

func TestParseJWKSReturnsUsableKeys(t *testing.T) {
	ec := ecKeys["P-256"]
	good := jwk(ec.Public(), "good", "")
	offCurve := `{"kty":"EC","crv":"P-256","kid":"k","x":"` + testjose.Base64(strings.Repeat("x", 32)) + `","y":"` + testjose.Base64(strings.Repeat("y", 32)) + `"}`
	for _, row := range []struct {
		name string
		keys []string
		want string // kids, or part of the error
	}{
		{"accepts RSA of 2048 bits", []string{jwk(rsa2048, "k", "")}, "k"},
		{"accepts every NIST curve", []string{jwk(ec.Public(), "a", ""), jwk(ecKeys["P-384"].Public(), "b", ""), jwk(ecKeys["P-521"].Public(), "c", "")}, "a b c"},
		{"accepts Ed25519", []string{jwk(edPublic, "k", "")}, "k"},
		{"accepts keys for signatures", []string{jwk(ec.Public(), "k", `,"use":"sig","alg":"ES256","key_ops":["verify"]`)}, "k"},
		{"accepts a key with more operations", []string{jwk(ec.Public(), "k", `,"key_ops":["sign","verify"]`)}, "k"},
		{"accepts two keys of one kid", []string{jwk(ec.Public(), "k", ""), jwk(rsa2048, "k", "")}, "k k"},
		{"accepts a key without kid", []string{jwk(ec.Public(), "", "")}, ""},
		{"accepts a kid of 256 bytes", []string{jwk(ec.Public(), strings.Repeat("k", 256), "")}, strings.Repeat("k", 256)},

		{"leaves out RSA of 2047 bits", []string{jwk(rsa2047, "k", ""), good}, "good"},
		{"leaves out private keys", []string{jwk(ec, "k", ""), jwk(edPrivate, "k", ""), good}, "good"},
		{"leaves out symmetric keys", []string{jwk([]byte("0123456789abcdef0123456789abcdef"), "k", ""), good}, "good"},
		{"leaves out keys for encryption", []string{jwk(rsa2048, "k", `,"use":"enc"`), good}, "good"},
		{"leaves out keys with other operations", []string{jwk(rsa2048, "k", `,"key_ops":["encrypt","wrapKey"]`), good}, "good"},
		{"leaves out keys without operations", []string{jwk(rsa2048, "k", `,"key_ops":[]`), good}, "good"},
		{"leaves out keys whose operations are not a list", []string{jwk(rsa2048, "k", `,"key_ops":"verify"`), good}, "good"},
		{"leaves out a kid of 257 bytes", []string{jwk(ec.Public(), strings.Repeat("k", 257), ""), good}, "good"},
		{"leaves out unknown types", []string{`{"kty":"AKP","alg":"ML-DSA-44","pub":"AAAA"}`, good}, "good"},
		{"leaves out unknown curves", []string{`{"kty":"EC","crv":"secp256k1","x":"AAAA","y":"AAAA"}`, `{"kty":"OKP","crv":"X25519","x":"AAAA"}`, good}, "good"},
		{"leaves out a point that is not on its curve", []string{offCurve, good}, "good"},
		{"leaves out what is not a key", []string{`1`, `null`, `"k"`, `{}`, `[]`, good}, "good"},
		{"leaves out an Ed25519 key of another length", []string{`{"kty":"OKP","crv":"Ed25519","kid":"k","x":"AAAA"}`, good}, "good"},

		{"rejects a set without a usable key", []string{jwk(rsa2047, "k", "")}, "no usable public signature key"},
		{"rejects an empty set", nil, "no usable public signature key"},
		{"accepts a hundred keys", slices.Repeat([]string{good}, 100), strings.TrimSpace(strings.Repeat("good ", 100))},
		{"rejects a hundred and one keys", slices.Repeat([]string{good}, 101), "more than 100 keys"},
	} {
		t.Run(row.name, func(t *testing.T) {
			keys, err := parseJWKS([]byte(`{"keys":[` + strings.Join(row.keys, ",") + `]}`))
			if err != nil {
				if !strings.HasPrefix(row.name, "rejects") || !strings.Contains(err.Error(), row.want) {
					t.Error(err)
				}
				return
			}
			var kids []string
			for _, k := range keys {
				kids = append(kids, k.KeyID)
				if !k.IsPublic() {
					t.Errorf("%s is private", k.KeyID)
				}
			}
			if got := strings.Join(kids, " "); got != row.want {
				t.Errorf("kids %q, want %q", got, row.want)
			}
		})
	}
	for _, text := range []string{"", "null", "[]", `"keys"`, `{"keys":1}`, `{"keys":{}}`, `{"keys":[`, "<html>", good} {
		if keys, err := parseJWKS([]byte(text)); err == nil {
			t.Errorf("%s is parsed as %v", text, keys)
		}
	}
}

func pemOf(t *testing.T, kind string, key any) string {
	t.Helper()
	var der []byte
	var err error
	switch kind {
	case "PUBLIC KEY":
		der, err = x509.MarshalPKIXPublicKey(key)
	case "PRIVATE KEY":
		der, err = x509.MarshalPKCS8PrivateKey(key)
	case "CERTIFICATE":
		template := &x509.Certificate{SerialNumber: big.NewInt(1)}
		der, err = x509.CreateCertificate(rand.Reader, template, template, key.(*ecdsa.PrivateKey).Public(), key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestParsePEM(t *testing.T) {
	ec := ecKeys["P-256"]
	good := pemOf(t, "PUBLIC KEY", ec.Public())
	for _, row := range []struct {
		name, text string
		keys       int
		want       string // part of the error
	}{
		{"accepts one key", good, 1, ""},
		{"accepts several keys of all kinds", good + pemOf(t, "PUBLIC KEY", edPublic) + pemOf(t, "PUBLIC KEY", rsa2048), 3, ""},
		{"accepts text around the keys", "the issuer's key:\n" + good + "that was it\n", 1, ""},
		{"rejects no key", "", 0, "no PEM block"},
		{"rejects what is not PEM", "ssh-ed25519 AAAA", 0, "no PEM block"},
		{"rejects a private key", good + pemOf(t, "PRIVATE KEY", ec), 0, "PEM block 2 is not a public key"},
		{"rejects a certificate", pemOf(t, "CERTIFICATE", ec), 0, "PEM block 1 is not a public key"},
		{"rejects RSA of 2047 bits", pemOf(t, "PUBLIC KEY", rsa2047), 0, "PEM block 1: not RSA of 2048 to 8192 bits"},
		{"rejects P-224", pemOf(t, "PUBLIC KEY", ecKeys["P-224"].Public()), 0, "PEM block 1: not RSA of 2048 to 8192 bits, P-256"},
	} {
		t.Run(row.name, func(t *testing.T) {
			keys, err := parsePEM([]byte(row.text))
			if len(keys) != row.keys || (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
				t.Errorf("%d keys, %v", len(keys), err)
			}
		})
	}
}

func TestAKeySupportsOneKindOfAlgorithm(t *testing.T) {
	rsas := "RS256 RS384 RS512 PS256 PS384 PS512"
	for _, row := range []struct {
		name string
		key  jose.JSONWebKey
		want string
	}{
		{"RSA", jose.JSONWebKey{Key: rsa2048}, rsas},
		{"RSA marked RS256", jose.JSONWebKey{Key: rsa2048, Algorithm: "RS256"}, "RS256"},
		{"RSA marked PS256", jose.JSONWebKey{Key: rsa2048, Algorithm: "PS256"}, "PS256"},
		{"RSA marked for encryption", jose.JSONWebKey{Key: rsa2048, Algorithm: "RSA-OAEP"}, ""},
		{"RSA marked in another case", jose.JSONWebKey{Key: rsa2048, Algorithm: "rs256"}, ""},
		{"RSA marked with an algorithm of another type", jose.JSONWebKey{Key: rsa2048, Algorithm: "ES256"}, ""},
		{"P-256", jose.JSONWebKey{Key: ecKeys["P-256"].Public()}, "ES256"},
		{"P-384", jose.JSONWebKey{Key: ecKeys["P-384"].Public()}, "ES384"},
		{"P-521", jose.JSONWebKey{Key: ecKeys["P-521"].Public()}, "ES512"},
		{"P-384 marked ES256", jose.JSONWebKey{Key: ecKeys["P-384"].Public(), Algorithm: "ES256"}, ""},
		{"Ed25519", jose.JSONWebKey{Key: edPublic}, "EdDSA"},
		{"Ed25519 marked EdDSA", jose.JSONWebKey{Key: edPublic, Algorithm: "EdDSA"}, "EdDSA"},
		{"Ed25519 marked by its new name", jose.JSONWebKey{Key: edPublic, Algorithm: "Ed25519"}, "EdDSA"},
		{"a symmetric key", jose.JSONWebKey{Key: []byte("secret")}, ""},
		{"a private key", jose.JSONWebKey{Key: ecKeys["P-256"]}, ""},
	} {
		var algorithms []string
		for _, alg := range append(strings.Fields(rsas), "ES256", "ES384", "ES512", "EdDSA", "HS256", "none") {
			if Supports(row.key, alg) {
				algorithms = append(algorithms, alg)
			}
		}
		if got := strings.Join(algorithms, " "); got != row.want {
			t.Errorf("%s supports %q, want %q", row.name, got, row.want)
		}
	}
	if names := []string{AlgorithmName("Ed25519"), AlgorithmName("EdDSA"), AlgorithmName("RS256")}; fmt.Sprint(names) != "[EdDSA EdDSA RS256]" {
		t.Error(names)
	}
}
