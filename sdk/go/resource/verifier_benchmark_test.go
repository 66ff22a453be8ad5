package resource_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
	"github.com/latchkey/latchkey/sdk/go/resource"
)

// signer signs tokens of an issuer with RS256, the server's default.
type signer struct {
	issuer *latchkeytest.Issuer
	key    *rsa.PrivateKey
}

func newSigner(b *testing.B) *signer {
	b.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	return &signer{latchkeytest.New(b), key}
}

// published makes a verifier find the key.
func (s *signer) published(o *resource.VerifierOptions) {
	withResponse(keySetPath, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: s.key.Public(), KeyID: "rsa", Algorithm: "RS256", Use: "sig"}}})
	})(o)
}

func (s *signer) token(b *testing.B) string {
	b.Helper()
	payload, err := json.Marshal(s.issuer.AccessClaims(claims{"scope": "profile orders:read", "acr": "phr", "amr": []string{"hwk"}, "email": "alice@example.com"}))
	if err != nil {
		b.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"rsa","typ":"at+jwt"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, s.key, crypto.SHA256, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// Compare BenchmarkVerify with one RSA verification in the same run.
func BenchmarkVerify(b *testing.B) {
	b.Run("RSA alone", func(b *testing.B) {
		s := newSigner(b)
		digest := sha256.Sum256(nil)
		signature, err := rsa.SignPKCS1v15(nil, s.key, crypto.SHA256, digest[:])
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if err := rsa.VerifyPKCS1v15(&s.key.PublicKey, crypto.SHA256, digest[:], signature); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, how := range []struct {
		name   string
		change func(*resource.VerifierOptions)
	}{{"feed off", noRevocationCheck}, {"feed on", func(*resource.VerifierOptions) {}}} {
		b.Run("new token, "+how.name, func(b *testing.B) {
			benchmarkVerify(b, how.change, func(o *resource.VerifierOptions) { o.CacheSize = -1 })
		})
		b.Run("seen token, "+how.name, func(b *testing.B) {
			benchmarkVerify(b, how.change)
		})
		b.Run("seen token by all processors, "+how.name, func(b *testing.B) {
			s := newSigner(b)
			v, token := newVerifier(b, s.issuer, s.published, how.change, realClock), s.token(b)
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := v.Verify(b.Context(), token); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// realClock replaces the issuer's clock, which has a lock.
func realClock(o *resource.VerifierOptions) { o.Now = nil }

func benchmarkVerify(b *testing.B, changes ...func(*resource.VerifierOptions)) {
	s := newSigner(b)
	v, token := newVerifier(b, s.issuer, append(changes, s.published, realClock)...), s.token(b)
	want(b, v, token, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}
