package oauth

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/expr"
	"github.com/latchkey/latchkey/oauth/jws"
	"github.com/latchkey/latchkey/session"
)

// minted is a signed access token with the values that its response repeats.
type minted struct {
	token   string
	ttl     time.Duration
	leftOut map[string]string // custom claims that failed, and why
}

// response returns a token response that contains the access token.
func (m minted) response(scope []string) tokenResponse {
	return tokenResponse{
		AccessToken: m.token, TokenType: "Bearer", ExpiresIn: int64(m.ttl / time.Second), Scope: strings.Join(scope, " "),
	}
}

// mintSession signs an access token of a session (RFC 9068 §2.2). The token
// states one of the classes that the session reaches. The caller holds a
// signing slot.
func (s *Server) mintSession(c *Client, row *models.Session, stated session.Proof, audience, scope []string, now time.Time) (minted, error) {
	claims, expiry, custom := sessionClaims(c, row, stated, now)
	return s.mint(c, claims, audience, scope, now, expiry, custom)
}

// sessionClaims returns the claims that the access token of a session has because of
// the session, when it expires, and what adds the custom claims.
func sessionClaims(c *Client, row *models.Session, stated session.Proof, now time.Time) (claims map[string]any, expiry time.Time, custom func(into map[string]any) (leftOut map[string]string)) {
	claims = map[string]any{"sub": row.Subject, "sid": row.ID.String()}
	states := c.tenant.sessionAssurance(row).statement(stated)
	states.addTo(claims)
	if c.Settings.StatusList && row.Status != nil {
		claims["status"] = c.tenant.statusClaim(*row.Status)
	}
	expiry = c.Settings.Policy().AccessExpiry(now, row.Lifetime().Expiry())
	return claims, expiry, func(into map[string]any) map[string]string {
		return addCustomClaims(expr.NewBudget(), c, row, states, into)
	}
}

// mint adds the claims that every access token has and the client's custom
// claims, and signs the token.
func (s *Server) mint(c *Client, claims map[string]any, audience, scope []string, now, expiry time.Time, custom func(into map[string]any) (leftOut map[string]string)) (minted, error) {
	ttl, leftOut := complete(c, claims, audience, scope, now, expiry, custom)
	typ := jws.TypAccessToken
	if c.Settings.AccessTokenTyp == jws.TypJWT {
		typ = jws.TypJWT
	}
	token, err := c.tenant.ring.Sign(now, typ, claims)
	return minted{token: token, ttl: ttl, leftOut: leftOut}, err
}

// complete adds the claims that every access token has, and the custom claims.
func complete(c *Client, claims map[string]any, audience, scope []string, now, expiry time.Time, custom func(into map[string]any) (leftOut map[string]string)) (ttl time.Duration, leftOut map[string]string) {
	iat := now.Unix()
	ttl = time.Duration(max(expiry.Unix()-iat, 1)) * time.Second
	claims["iss"], claims["client_id"], claims["jti"] = c.tenant.Issuer, c.ID, newJTI()
	claims["iat"], claims["exp"] = iat, iat+int64(ttl/time.Second)
	claims["aud"] = audienceClaim(audience)
	if len(scope) > 0 {
		claims["scope"] = strings.Join(scope, " ")
	}
	return ttl, custom(claims)
}

// audienceClaim returns a single audience as a string and several as a list
// (RFC 7519 §4.1.3).
func audienceClaim(audience []string) any {
	if len(audience) == 1 {
		return audience[0]
	}
	return audience
}

// newJTI returns 128 random bits in hexadecimal.
func newJTI() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// hexDigest returns a digest in hexadecimal.
func hexDigest(b []byte) string { return hex.EncodeToString(b) }
