package latchkeytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Claims are claims of a token, by name. They replace what the token would say
// otherwise; nil leaves a claim out.
type Claims map[string]any

// Token is an access token for Audience, of a session of its own. Later claims
// win.
func (i *Issuer) Token(claims ...Claims) string {
	i.t.Helper()
	return i.Sign("at+jwt", i.AccessClaims(claims...))
}

// ExpiredToken is one that expired two minutes ago.
func (i *Issuer) ExpiredToken(claims ...Claims) string {
	i.t.Helper()
	end := i.Now().Add(-2 * time.Minute)
	return i.Token(append([]Claims{{"iat": end.Add(-AccessLife).Unix(), "exp": end.Unix()}}, claims...)...)
}

// ForeignToken is one that somebody else signed, in the name of the issuer and
// its key.
func (i *Issuer) ForeignToken(claims ...Claims) string {
	i.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	return i.sign(signingKey{i.key().id, private}, "at+jwt", i.AccessClaims(claims...))
}

// AccessClaims are those that Token signs.
func (i *Issuer) AccessClaims(claims ...Claims) Claims {
	now := i.Now()
	all := Claims{
		"iss": i.URL, "aud": Audience, "sub": Subject, "client_id": ClientID, "jti": rand.Text(), "sid": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(AccessLife).Unix(), "auth_time": now.Unix(),
	}
	for _, c := range claims {
		maps.Copy(all, c)
	}
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	return all
}

// Sign signs claims as they stand, with a header `typ`.
func (i *Issuer) Sign(typ string, claims Claims) string {
	i.t.Helper()
	return i.sign(i.key(), typ, claims)
}

func (i *Issuer) sign(key signingKey, typ string, claims Claims) string {
	i.t.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		i.t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key.private, KeyID: key.id}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		i.t.Fatal(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		i.t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return compact
}
