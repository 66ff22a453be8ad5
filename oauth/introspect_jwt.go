package oauth

import (
	"context"
	"net/http"
)

// introspectionJWT is the media type of a signed response (RFC 9701 §5).
const introspectionJWT = "application/token-introspection+jwt"

// typIntrospection is the typ of a signed response.
const typIntrospection = "token-introspection+jwt"

// wantsJWT reports whether the caller prefers a signed response (RFC 9701 §4).
func wantsJWT(r *http.Request) bool { return prefers(r, introspectionJWT) }

// writeIntrospectionJWT signs a response for its caller only. The JWT contains
// nothing about the user at its top level and has no exp, so that it cannot be
// taken for a token (RFC 9701 §5, §8.1).
func (s *Server) writeIntrospectionJWT(ctx context.Context, w http.ResponseWriter, caller *Client, answer map[string]any) error {
	release, err := s.documentSlots.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	now := s.now()
	signed, err := caller.tenant.ring.Sign(now, typIntrospection, map[string]any{
		"iss": caller.tenant.Issuer, "aud": caller.ID, "iat": now.Unix(), "token_introspection": answer,
	})
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", introspectionJWT)
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	w.WriteHeader(http.StatusOK)
	_, err = w.Write([]byte(signed))
	return err
}
