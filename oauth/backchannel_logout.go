package oauth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// logoutEvent is the member of events that makes a token a logout token (OpenID
// Connect Back-Channel Logout §2.4).
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// backchannelLogout is the purpose of logout tokens.
var backchannelLogout = &upstreamPurpose{
	name: "backchannel-logout", setting: "backchannel_logout", typ: "logout+jwt",
	allows: func(s settings.IssuerSettings) bool { return s.BackchannelLogout },
	hasTyp: func(e *issuerEntry, typ string) bool {
		return typ == "logout+jwt" || e.Settings.UntypedLogoutTokens && (typ == "" || typ == "jwt")
	},
	audience: func(_ *Tenant, e *issuerEntry) []string { return e.audiences },
	times: func(e *issuerEntry, at tokenTimes, _ time.Time) (time.Time, *tokenFault) {
		switch {
		case at.exp.IsZero():
			return at.exp, &tokenFault{why: "exp is required"}
		case at.exp.Sub(at.iat) > e.maxLifetime():
			return at.exp, &tokenFault{why: "exp - iat exceeds max_token_lifetime of the trusted issuer", expected: "at most " + e.maxLifetime().String(), received: at.exp.Sub(at.iat).String()}
		}
		return at.exp, nil
	},
}

// BackchannelLogout serves POST {iss}/backchannel-logout (OpenID Connect Back-Channel
// Logout §2.5): the identity provider of a trusted issuer ends the sessions that its
// ID tokens opened.
func (s *Server) BackchannelLogout(w http.ResponseWriter, r *http.Request, call *Call) {
	s.endpoint(w, r, call, func(ctx context.Context) error {
		t := call.Tenant
		if !t.allowsUpstream(backchannelLogout) {
			return notOffered("No trusted issuer of the tenant has backchannel_logout")
		}
		token := r.PostForm.Get("logout_token")
		if token == "" {
			return invalidRequest(ReasonParameterMissing, "logout_token is required")
		}
		u, err := s.verifyUpstream(ctx, t, token, backchannelLogout)
		if err == nil {
			err = s.logOutUpstream(ctx, t, u)
		}
		var fault *tokenFault
		if errors.As(err, &fault) {
			if wait := s.failUpstream(call); wait > 0 {
				return tooManyFailures(wait)
			}
			return invalidRequest(ReasonRevocationToken, "logout_token rejected: "+fault.why).withCause(fault.cause).compare(fault.expected, fault.received)
		}
		if err != nil {
			return err
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Pragma", "no-cache")
		w.WriteHeader(http.StatusOK)
		return nil
	})
}

// logOutUpstream ends what a verified logout token names: the sessions of its sid
// or, without one, those of its sub.
func (s *Server) logOutUpstream(ctx context.Context, t *Tenant, u *upstreamToken) error {
	if fault := u.checkLogout(); fault != nil {
		return fault
	}
	sid, _ := u.claims["sid"].(string)
	sub, _ := u.claims["sub"].(string)
	var targets []models.UpstreamTarget
	for _, e := range u.entries {
		if sid != "" {
			targets = append(targets, models.UpstreamTarget{IssuerID: e.ID, SID: sid})
		} else {
			targets = append(targets, t.upstreamTarget(e, sub))
		}
	}
	_, err := s.store.LogOut(ctx, models.UpstreamCall{Tenant: t.ID, Token: u.spent, Targets: targets, Actor: u.actor("backchannel-logout")})
	if errors.Is(err, models.ErrTokenSpent) {
		return &tokenFault{why: "it has already been used"}
	}
	return err
}

// checkLogout checks the claims of a logout token (Back-Channel Logout §2.6).
func (u *upstreamToken) checkLogout() *tokenFault {
	_, nonce := u.claims["nonce"]
	sid, hasSID := u.claims["sid"]
	sub, hasSub := u.claims["sub"]
	switch {
	case !isLogout(u.claims):
		return &tokenFault{why: "events must be an object in which " + logoutEvent + " is an object"}
	case nonce:
		return &tokenFault{why: "it must not have nonce"} // or an ID token could pass for it
	case !hasSID && !hasSub:
		return &tokenFault{why: "sid or sub is required"}
	case hasSID && !upstreamID(sid), hasSub && !upstreamID(sub):
		return &tokenFault{why: "sid and sub must be strings of 1 to 255 bytes"}
	}
	return nil
}

// isLogout reports whether the claims are those of a logout token.
func isLogout(claims map[string]any) bool {
	events, _ := claims["events"].(map[string]any)
	_, ok := events[logoutEvent].(map[string]any)
	return ok
}

// upstreamID reports whether a claim can be a sid or sub of an identity provider.
func upstreamID(v any) bool {
	text, ok := v.(string)
	return ok && text != "" && len(text) <= maxUpstreamSID && !malformed(text)
}
