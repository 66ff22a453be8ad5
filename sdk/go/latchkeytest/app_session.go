package latchkeytest

import (
	"net/http"
	"slices"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// appSession is a session that the issuer made; Issuer.mu guards it.
type appSession struct {
	id, sub, client, scope string
	target                 []string
	factors                []factor
	device                 device
	created, active, ends  time.Time
	refresh, sessionToken  string
	used                   []string // refresh tokens, the newest last
	late                   int      // len(used) at the last late retry; 0: none
	superseded             []string // refresh and session tokens that a step-up replaced without seeing them
	stepUp                 stepUp   // the last one
	rotated, ended         time.Time
	endReason              string // of what apps and back ends end
}

// stepUp is what replaced both handles of a session.
type stepUp struct {
	generation   int      // len(appSession.used) after it; 0: there was none
	shown        string   // the handle that named the session; empty: an access token did
	clientTokens []string // that were brought with it
	before       []factor
}

// device is what is known of where a session is.
type device struct {
	Name      string `json:"name"`
	UserAgent string `json:"user_agent"`
	IP        string `json:"ip"`
}

// SessionActive says whether the issuer has made a session with this id that has
// not ended: by an app's request, RevokeSession, RevokeUser or RevokeClient.
func (i *Issuer) SessionActive(sid string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.ContainsFunc(i.sessions, func(s *appSession) bool { return s.id == sid && !i.hasEnded(s) })
}

// hasEnded says whether a session has ended. The caller holds i.mu.
func (i *Issuer) hasEnded(s *appSession) bool {
	return !i.clock().Before(s.ends) || slices.ContainsFunc(i.revoked, func(e entry) bool {
		return e.SID == s.id || (e.Sub == s.sub || e.ClientID == s.client) && s.created.Unix() < e.Before
	})
}

// end ends a session, for verifiers too. The caller holds i.mu.
func (i *Issuer) end(s *appSession, reason string) {
	now := i.clock()
	s.ended, s.endReason = now, reason
	i.revoked = append(i.revoked, entry{SID: s.id, At: now.Unix(), Until: now.Add(revocationLifetime).Unix() + 1})
	i.wakeStreams()
}

// sessionOf finds the session of any of its tokens. The caller holds i.mu.
func (i *Issuer) sessionOf(token string) *appSession {
	sid := sidOf(token)
	for _, s := range i.sessions {
		if token != "" && (token == s.refresh || token == s.sessionToken || slices.Contains(s.used, token) || slices.Contains(s.superseded, token) || sid == s.id) {
			return s
		}
	}
	return nil
}

// sidOf reads an access token without verifying it: nobody attacks a test.
func sidOf(token string) string {
	var claims struct{ SID string }
	wire.UnverifiedClaims(token, &claims)
	return claims.SID
}

// revokeToken ends the session of whatever token (RFC 7009).
func (i *Issuer) revokeToken(_ http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if s := i.sessionOf(r.PostFormValue("token")); s != nil {
		i.end(s, "signed_out")
	}
}
