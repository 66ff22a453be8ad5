package oauth

import (
	"context"
	"net/http"
)

// introspectionJWT is the media type of a signed answer (RFC 9701 §5).
const introspectionJWT = "application/token-introspection+jwt"

// typIntrospection is the header of a signed answer.
const typIntrospection = "token-introspection+jwt"

// wantsJWT says whether the caller prefers a signed answer (RFC 9701 §4).
func wantsJWT(r *http.Request) bool { return prefers(r, introspectionJWT) }

// writeIntrospectionJWT signs an answer for its caller alone. It says nothing
// of the user at its top level, and does not expire: it is no token (RFC 9701
// §5, §8.1).
func (s *Server) writeIntrospectionJWT(ctx context.Context, w http.ResponseWriter, caller *Client, answer map[string]any) error {
	release, err := s.documentSlots.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	now := s.now()
	signed, err := caller.tenant.ring.sign(now, typIntrospection, map[string]any{
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
