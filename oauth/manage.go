package oauth

import (
	"context"
	"errors"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/expr"
	"github.com/latchkey/latchkey/session"
)

// What follows is what operators do: it serves no client and no user.

// IssuerOf returns the issuer URL of a tenant.
func (s *Server) IssuerOf(tenant string) string { return s.registry.issuerOf(tenant) }

// SessionView is a session as an operator sees it.
type SessionView struct {
	Row       *models.Session
	Ended     bool
	EndedAt   time.Time // zero: it has not ended, or this node does not know when
	EndReason session.EndReason

	ACR      string           // empty: none
	AuthTime time.Time        // when ACR was last proved in full
	ACRTimes map[string]int64 // the same of every class that is reached, in Unix seconds
	AMR      []string
	Factors  []session.Factor // those that count
	Lapsed   []session.Factor // those whose trusted issuer is disabled, suspended or removed

	DeviceName, UserAgent, IP string // empty if the tenant does not store devices
}

// ViewSessions returns sessions of a tenant as an operator sees them.
func (s *Server) ViewSessions(ctx context.Context, tenant string, rows ...*models.Session) ([]SessionView, error) {
	t, err := s.registry.tenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	now := s.now()
	list := make([]SessionView, len(rows))
	for i, row := range rows {
		proves := t.sessionAssurance(row)
		best, device := proves.best(), t.device(row)
		v := SessionView{
			Row: row, ACR: best.acr, AuthTime: time.Unix(best.authTime, 0).UTC(), ACRTimes: best.times, AMR: best.amr,
			Factors: proves.factors, Lapsed: proves.lapsed,
			DeviceName: device.Name, UserAgent: device.UserAgent, IP: device.IP,
		}
		v.EndedAt, v.EndReason, v.Ended = t.ended(row, now)
		list[i] = v
	}
	return list, nil
}

// SessionClaims returns the custom claims that an access token of the session would
// have now.
func (s *Server) SessionClaims(ctx context.Context, row *models.Session) (map[string]any, error) {
	t, err := s.registry.tenant(ctx, row.TenantID)
	if err != nil {
		return nil, err
	}
	claims := map[string]any{}
	if client := t.client(row.ClientID); client != nil {
		addCustomClaims(expr.NewBudget(), client, row, t.sessionAssurance(row).best(), claims)
	}
	return claims, nil
}

// ExtendSessionBy moves the absolute end of a session to `by` from now, but no further
// than max_lifetime of the session's client allows. An *Error says why it cannot be
// moved.
func (s *Server) ExtendSessionBy(ctx context.Context, row *models.Session, by time.Duration, actor string) (*models.Session, error) {
	t, err := s.registry.tenant(ctx, row.TenantID)
	if err != nil {
		return nil, err
	}
	now := s.now()
	end, err := (&caller{tenant: t}).extended(row, now, by)
	if err != nil {
		return nil, err
	}
	extended, err := s.store.ExtendSession(ctx, row, now, end, actor)
	if errors.Is(err, models.ErrNotFound) {
		return nil, sessionEnded("")
	}
	return extended, err
}

// typSecurityEvent is the typ of a security event token (RFC 8417 §2.3).
const typSecurityEvent = "secevent+jwt"

// SignSecurityEvent signs the claims of a security event token with the active key of
// a tenant.
func (s *Server) SignSecurityEvent(ctx context.Context, tenant string, claims map[string]any) (string, error) {
	t, err := s.registry.tenant(ctx, tenant)
	if err != nil {
		return "", err
	}
	release, err := s.documentSlots.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	return t.ring.Sign(s.now(), typSecurityEvent, claims)
}
