package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// caller is who sends a request to the session API: a user, by a token of one
// of their sessions, or a back end that manages the sessions of its tenant.
type caller struct {
	tenant *Tenant
	client *Client         // of the user's session, or the back end
	own    *models.Session // the user's session; nil for a back end
}

// maySee reports whether the caller may see the session.
func (who *caller) maySee(row *models.Session) bool {
	return who.own == nil || row.Subject == who.own.Subject
}

// endReason returns the reason to record for a session that the caller ends.
// Users sign out of their own session and revoke their other sessions.
func (who *caller) endReason(id models.SessionID) session.EndReason {
	switch {
	case who.own == nil:
		return session.RevokedByBackend
	case id == who.own.ID:
		return session.SignedOut
	default:
		return session.RevokedByUser
	}
}

// ending returns a context for ending sessions. A back end is named in the events.
func (who *caller) ending(ctx context.Context) context.Context {
	if who.own != nil {
		return ctx
	}
	return models.WithActor(ctx, models.Actor{Name: "client " + who.client.ID, Role: models.RoleClient})
}

// AsClient reports whether a request authenticates a client rather than a user.
func AsClient(r *http.Request) bool {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Basic")
}

// authenticateEither authenticates a user or a back end that manages sessions.
func (s *Server) authenticateEither(ctx context.Context, call *Call, r *http.Request, now time.Time) (*caller, error) {
	if AsClient(r) {
		return s.authenticateManager(ctx, call, r, now)
	}
	return s.authenticateBearer(ctx, call, r, now)
}

// authenticateManager authenticates a back end that manages sessions, by HTTP
// Basic.
func (s *Server) authenticateManager(ctx context.Context, call *Call, r *http.Request, _ time.Time) (*caller, error) {
	c, err := s.authenticateClient(ctx, call, r, url.Values{})
	switch {
	case err != nil:
		return nil, err
	case c.Settings.Public():
		return nil, invalidClient(errors.New("a public client may not manage sessions"))
	case !c.Settings.ManageSessions:
		return nil, &Error{Code: "unauthorized_client", Reason: ReasonClientNotAllowed, Status: http.StatusForbidden, Description: "The client may not manage sessions; set manage_sessions in its configuration"}
	}
	return &caller{tenant: c.tenant, client: c}, nil
}
