package latchkeytest

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// statusPath is the path of the status list below the issuer.
const statusPath = "/status/1"

// introspect serves token introspection (RFC 7662 §2.2).
func (i *Issuer) introspect(w http.ResponseWriter, r *http.Request) {
	if !i.authenticated(w, r) {
		return
	}
	claims := i.read(r.PostFormValue("token"))
	if exp, _ := claims["exp"].(float64); claims == nil || int64(exp) <= i.Now().Unix() || i.isRevoked(claims) {
		writeJSON(w, http.StatusOK, Claims{"active": false})
		return
	}
	claims["active"], claims["token_type"] = true, "Bearer"
	writeJSON(w, http.StatusOK, claims)
}

// read returns the claims of a token that the issuer signed, or nil.
func (i *Issuer) read(text string) Claims {
	token, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, k := range i.keys {
		var claims Claims
		if token.Claims(k.private.Public(), &claims) == nil {
			return claims
		}
	}
	return nil
}

// statusList serves the status list (draft-ietf-oauth-status-list §8.1).
func (i *Issuer) statusList(w http.ResponseWriter, _ *http.Request) {
	now := i.Now().Unix()
	w.Header().Set("Content-Type", "application/statuslist+jwt")
	_, _ = io.WriteString(w, i.Sign("statuslist+jwt", Claims{
		"iss": i.URL, "sub": i.URL + statusPath, "iat": now, "exp": now + 300, "ttl": 60,
		"status_list": StatusListClaim(1, i.statusBits()),
	}))
}

// StatusListClaim returns a claim status_list. Each entry has the given number
// of bits.
func StatusListClaim(bits int, entries []byte) map[string]any {
	var deflated bytes.Buffer
	z := zlib.NewWriter(&deflated)
	_, _ = z.Write(entries) // writes to memory cannot fail
	_ = z.Close()
	return map[string]any{"bits": bits, "lst": base64.RawURLEncoding.EncodeToString(deflated.Bytes())}
}

// authenticated checks the credentials of the resource server's client.
func (i *Issuer) authenticated(w http.ResponseWriter, r *http.Request) bool {
	id, secret, _ := r.BasicAuth()
	id, idErr := url.QueryUnescape(id)
	secret, secretErr := url.QueryUnescape(secret)
	if idErr != nil || secretErr != nil || id != ResourceClientID || secret != ResourceClientSecret {
		w.Header().Set("WWW-Authenticate", `Basic realm="`+i.URL+`"`)
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return false
	}
	return true
}
