package latchkeytest

import (
	"net/http"
	"slices"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// appSession is a session of an app; Issuer.mu guards it.
type appSession struct {
	id, sub, client, scope string
	target                 []string
	factors                []factor
	device                 device
	created, active, ends  time.Time
	refresh, sessionToken  string
	used                   []string // refresh tokens that were used, newest last
	late                   int      // len(used) at the last late retry; 0: none
	superseded             []string // refresh and session tokens that a step-up replaced without having received them
	stepUp                 stepUp   // the last step-up
	rotated, ended         time.Time
	endReason              string // if an app or a back end ended it
}

// stepUp is a step-up that replaced the refresh token and the session token.
type stepUp struct {
	generation   int      // len(appSession.used) after the step-up; 0: there was none
	shown        string   // the refresh or session token that identified the session; empty: an access token did
	clientTokens []string // the client tokens of the step-up and its repetitions
	before       []factor
}

// device describes where a session is used.
type device struct {
	Name      string `json:"name"`
	UserAgent string `json:"user_agent"`
	IP        string `json:"ip"`
}

// SessionActive reports whether the issuer has a session with this id that has
// not ended, by a request or by RevokeSession, RevokeUser or RevokeClient.
func (i *Issuer) SessionActive(sid string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.ContainsFunc(i.sessions, func(s *appSession) bool { return s.id == sid && !i.hasEnded(s) })
}

// hasEnded reports whether a session has ended. The caller holds i.mu.
func (i *Issuer) hasEnded(s *appSession) bool {
	return !i.clock().Before(s.ends) || slices.ContainsFunc(i.revoked, func(e entry) bool {
		return e.SID == s.id || (e.Sub == s.sub || e.ClientID == s.client) && s.created.Unix() < e.Before
	})
}

// end ends a session, also for verifiers. The caller holds i.mu.
func (i *Issuer) end(s *appSession, reason string) {
	now := i.clock()
	s.ended, s.endReason = now, reason
	i.revoked = append(i.revoked, entry{SID: s.id, At: now.Unix(), Until: now.Add(revocationLifetime).Unix() + 1})
	i.wakeStreams()
}

// sessionOf returns the session of any of its tokens. The caller holds i.mu.
func (i *Issuer) sessionOf(token string) *appSession {
	sid := sidOf(token)
	for _, s := range i.sessions {
		if token != "" && (token == s.refresh || token == s.sessionToken || slices.Contains(s.used, token) || slices.Contains(s.superseded, token) || sid == s.id) {
			return s
		}
	}
	return nil
}

// sidOf returns the sid of an access token without verifying it.
func sidOf(token string) string {
	var claims struct{ SID string }
	wire.UnverifiedClaims(token, &claims)
	return claims.SID
}

// revokeToken ends the session of any of its tokens (RFC 7009).
func (i *Issuer) revokeToken(_ http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if s := i.sessionOf(r.PostFormValue("token")); s != nil {
		i.end(s, "signed_out")
	}
}
