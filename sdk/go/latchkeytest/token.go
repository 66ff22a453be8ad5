package latchkeytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"time"
)

// Claims are claims of a token, by name. They override the defaults; nil
// removes a claim.
type Claims map[string]any

// Token returns an access token for Audience with a session id of its own.
// Later claims override earlier ones.
func (i *Issuer) Token(claims ...Claims) string {
	return i.Sign("at+jwt", i.AccessClaims(claims...))
}

// ExpiredToken returns a token that expired two minutes ago.
func (i *Issuer) ExpiredToken(claims ...Claims) string {
	end := i.Now().Add(-2 * time.Minute)
	return i.Token(append([]Claims{{"iat": end.Add(-AccessTokenLifetime).Unix(), "exp": end.Unix()}}, claims...)...)
}

// ForgedToken returns a token that names the issuer and its key but is signed
// with another key.
func (i *Issuer) ForgedToken(claims ...Claims) string {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	return i.sign(signingKey{i.key().id, private}, "at+jwt", i.AccessClaims(claims...))
}

// AccessClaims returns the claims that Token signs. If there is an `acr` and no
// `acr_times`, the class was reached at `auth_time`.
func (i *Issuer) AccessClaims(claims ...Claims) Claims {
	now := i.Now()
	all := Claims{
		"iss": i.URL, "aud": Audience, "sub": Subject, "client_id": ClientID, "jti": rand.Text(), "sid": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(AccessTokenLifetime).Unix(), "auth_time": now.Unix(),
	}
	for _, c := range claims {
		maps.Copy(all, c)
	}
	if _, given := all["acr_times"]; !given && all["acr"] != nil && all["auth_time"] != nil {
		all["acr_times"] = map[string]any{fmt.Sprint(all["acr"]): all["auth_time"]}
	}
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	return all
}

// Sign signs claims without adding defaults, with a header `typ`.
func (i *Issuer) Sign(typ string, claims Claims) string {
	return i.sign(i.key(), typ, claims)
}

func (i *Issuer) sign(key signingKey, typ string, claims Claims) string {
	header, err := json.Marshal(map[string]string{"alg": "ES256", "kid": key.id, "typ": typ})
	if err != nil {
		i.t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		i.t.Fatal(err)
	}
	return i.signText(key, string(header), string(payload))
}

// KeyID returns the `kid` of the key that signs.
func (i *Issuer) KeyID() string { return i.key().id }

// SignText signs a header and a payload unchanged. It uses ES256 whatever the
// header contains.
func (i *Issuer) SignText(header, payload string) string {
	return i.signText(i.key(), header, payload)
}

func (i *Issuer) signText(key signingKey, header, payload string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	digest := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, key.private, digest[:])
	if err != nil {
		i.t.Fatal(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...) // RFC 7518 §3.4
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}
