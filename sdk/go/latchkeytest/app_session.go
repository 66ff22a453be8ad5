package latchkeytest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// appSession is a session that the issuer made; Issuer.mu guards it.
type appSession struct {
	id, sub, client, scope string
	target                 []string
	amr                    []string
	created, authTime      time.Time
	refresh, sessionToken  string
	used                   []string // refresh tokens, the newest last
	rotated                time.Time
}

// SessionActive says whether the issuer has made a session with this id that has
// not ended: by an app's request, RevokeSession, RevokeUser or RevokeClient.
func (i *Issuer) SessionActive(sid string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.ContainsFunc(i.sessions, func(s *appSession) bool { return s.id == sid && !i.over(s) })
}

// over says whether a session has ended. The caller holds i.mu.
func (i *Issuer) over(s *appSession) bool {
	return !time.Now().Add(i.offset).Before(s.created.Add(SessionLife)) || slices.ContainsFunc(i.revoked, func(e entry) bool {
		return e.SID == s.id || (e.Sub == s.sub || e.ClientID == s.client) && s.created.Unix() < e.Before
	})
}

// end ends a session, for verifiers too. The caller holds i.mu.
func (i *Issuer) end(s *appSession) {
	now := time.Now().Add(i.offset)
	i.revoked = append(i.revoked, entry{SID: s.id, At: now.Unix(), Until: now.Add(untilAfter).Unix() + 1})
	i.tell()
}

// sessionOf finds the session of any of its tokens. The caller holds i.mu.
func (i *Issuer) sessionOf(token string) *appSession {
	sid := sidOf(token)
	for _, s := range i.sessions {
		if token != "" && (token == s.refresh || token == s.sessionToken || slices.Contains(s.used, token) || sid == s.id) {
			return s
		}
	}
	return nil
}

// sidOf reads an access token without verifying it: nobody attacks a test.
func sidOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	var claims struct{ SID string }
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return ""
	}
	return claims.SID
}

// revokeToken ends the session of whatever token (RFC 7009).
func (i *Issuer) revokeToken(_ http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if s := i.sessionOf(r.PostFormValue("token")); s != nil {
		i.end(s)
	}
}

// session shows the session of a bearer, or ends it.
func (i *Issuer) session(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+i.URL+`"`)
		writeJSON(w, http.StatusUnauthorized, map[string]any{})
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	s := i.sessionOf(token)
	switch {
	case s == nil || i.over(s) || token == s.refresh || slices.Contains(s.used, token):
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+i.URL+`", error="invalid_token"`)
		refuse(w, http.StatusUnauthorized, "invalid_token")
	case r.Method == http.MethodDelete:
		i.end(s)
		w.WriteHeader(http.StatusNoContent)
	default:
		now := time.Now().Add(i.offset).Unix()
		writeJSON(w, http.StatusOK, map[string]any{
			"id": s.id, "sub": s.sub, "client_id": s.client, "status": "active", "current": true, "created_at": s.created.Unix(),
			"auth_time": s.authTime.Unix(), "last_active_at": now, "expires_at": s.created.Add(SessionLife).Unix(), "idle_expires_at": nil,
			"ended_at": nil, "end_reason": nil, "acr": acrOf(s.amr), "amr": s.amr, "factors": []any{}, "device": map[string]any{}, "scope": s.scope,
			"attributes": map[string]any{}, "claims": map[string]any{},
		})
	}
}
