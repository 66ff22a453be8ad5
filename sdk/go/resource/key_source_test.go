package resource_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

const metadataPath = "/.well-known/openid-configuration"

// The key set's URL comes from the issuer's own metadata, and must be as secure
// as the issuer's URL.
func TestKeysComeFromTheMetadataOfTheIssuer(t *testing.T) {
	issuer := latchkeytest.New(t)
	for name, c := range map[string]struct {
		metadata string
		status   int
		err      error
	}{
		"its own metadata":           {`{"issuer":"ISS","jwks_uri":"ISS/.well-known/jwks.json"}`, 200, nil},
		"metadata of another issuer": {`{"issuer":"ISS/","jwks_uri":"ISS/.well-known/jwks.json"}`, 200, latchkey.ErrUnavailable},
		"keys without TLS":           {`{"issuer":"ISS","jwks_uri":"http://id.example.com/jwks.json"}`, 200, latchkey.ErrUnavailable},
		"keys nowhere":               {`{"issuer":"ISS"}`, 200, latchkey.ErrUnavailable},
		"keys in a file":             {`{"issuer":"ISS","jwks_uri":"file:///etc/jwks.json"}`, 200, latchkey.ErrUnavailable},
		"no JSON":                    {`jwks_uri`, 200, latchkey.ErrUnavailable},
		"a redirect":                 {`{"issuer":"ISS","jwks_uri":"ISS/.well-known/jwks.json"}`, 302, latchkey.ErrUnavailable},
		"too much":                   {`{"issuer":"ISS","jwks_uri":"ISS/.well-known/jwks.json"}` + strings.Repeat(" ", 1<<20), 200, latchkey.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, issuer, noRevocationCheck, withResponse(metadataPath, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", issuer.URL+metadataPath)
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(strings.ReplaceAll(c.metadata, "ISS", issuer.URL)))
			}))
			want(t, v, issuer.Token(), c.err)
		})
	}
}

func TestOnlyUsableKeysAreAccepted(t *testing.T) {
	issuer := latchkeytest.New(t)
	ec := generate(t, func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) })
	weak, long := smallKey(), generate(t, func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) }).Public()
	key := func(key any, kid, alg, use string) string {
		text, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: alg, Use: use})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	ours := func(*latchkeytest.Issuer) string {
		var set struct{ Keys []json.RawMessage }
		answer, err := http.Get(issuer.URL + keySetPath)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if err := json.NewDecoder(answer.Body).Decode(&set); err != nil {
			t.Fatal(err)
		}
		return string(set.Keys[0])
	}(issuer)
	renamed := func(from, to string) string { return strings.Replace(ours, from, to, 1) }
	for name, c := range map[string]struct {
		keys []string
		err  error
	}{
		"the issuer's key":            {[]string{ours}, nil},
		"the key among others":        {[]string{key(ec.Public(), "a", "ES256", "sig"), `{"kty":"new"}`, `{"kty":"oct","kid":"b","k":"AAAA"}`, ours}, nil},
		"the key without alg":         {[]string{renamed(`"alg":"ES256",`, "")}, nil},
		"a key for encryption":        {[]string{renamed(`"use":"sig"`, `"use":"enc"`)}, latchkey.ErrUnavailable},
		"a key for another algorithm": {[]string{renamed("ES256", "ES384")}, latchkey.ErrUnavailable},
		"another key with its kid":    {[]string{key(ec.Public(), issuer.KeyID(), "ES256", "sig")}, latchkey.ErrInvalidToken},
		"an RSA key with its kid":     {[]string{key(long, issuer.KeyID(), "RS256", "sig")}, latchkey.ErrInvalidToken},
		"RSA for PS256":               {[]string{key(long, issuer.KeyID(), "PS256", "sig")}, latchkey.ErrUnavailable},
		"weak RSA":                    {[]string{key(weak, issuer.KeyID(), "RS256", "sig")}, latchkey.ErrUnavailable},
		"a private key":               {[]string{key(ec, issuer.KeyID(), "ES256", "sig")}, latchkey.ErrUnavailable},
		"two keys with one kid":       {[]string{ours, key(ec.Public(), issuer.KeyID(), "ES256", "sig")}, latchkey.ErrUnavailable},
		"none":                        {nil, latchkey.ErrUnavailable},
		"too many":                    {append(many(100, func(n int) string { return key(ec.Public(), fmt.Sprint(n), "ES256", "sig") }), ours), latchkey.ErrUnavailable},
		"too much":                    {[]string{ours, `"` + strings.Repeat("a", 512<<10) + `"`}, latchkey.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, issuer, noRevocationCheck, withResponse(keySetPath, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"keys":[` + strings.Join(c.keys, ",") + `]}`))
			}))
			want(t, v, issuer.Token(), c.err)
		})
	}
}

func generate(t *testing.T, make func() (crypto.Signer, error)) crypto.Signer {
	t.Helper()
	key, err := make()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// smallKey returns a public key of 1024 bits, which the standard library no
// longer generates.
func smallKey() *rsa.PublicKey {
	k := rsa.PublicKey{E: 65537, N: new(big.Int).Lsh(big.NewInt(1), 1023)}
	k.N.SetBit(k.N, 0, 1)
	return &k
}

func many(n int, make func(n int) string) (list []string) {
	for i := range n {
		list = append(list, make(i))
	}
	return list
}
