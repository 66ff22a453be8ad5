package oauth

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/expr"
	"github.com/latchkey/latchkey/session"
)

// ExtendSession serves POST {iss}/sessions/{sid}/extend, for back ends. It
// moves the absolute end of a session to expires_in seconds from now, but no
// further than max_lifetime of the session's client allows. It is not an
// activity of the session: the idle end stays.
func (s *Server) ExtendSession(w http.ResponseWriter, r *http.Request, call *Call) {
	s.endpoint(w, r, call, func(ctx context.Context) error {
		now := s.now()
		who, err := s.authenticateManager(ctx, call, r, now)
		if err != nil {
			return err
		}
		seconds, err := strconv.ParseUint(r.PostForm.Get("expires_in"), 10, 31)
		if err != nil || seconds == 0 {
			return invalidRequest(ReasonParameterInvalid, "expires_in must be a whole number of seconds, at least 1")
		}
		row, err := s.sessionOf(ctx, who, r.PathValue("sid"))
		if err != nil {
			return err
		}
		end, err := who.extended(row, now, time.Duration(seconds)*time.Second)
		if err != nil {
			return err
		}
		row, err = s.store.ExtendSession(ctx, row, now, end, who.client.ID)
		if errors.Is(err, models.ErrNotFound) {
			return sessionEnded("")
		}
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, who.describeWithClaims(expr.NewBudget(), row, now))
		return nil
	})
}

// extended returns the new end of a session, by the rules of its own client.
func (who *caller) extended(row *models.Session, now time.Time, by time.Duration) (time.Time, error) {
	client := who.tenant.client(row.ClientID)
	if _, why, ended := who.tenant.ended(row, now); ended || client == nil {
		return time.Time{}, sessionEnded(why)
	}
	most := client.Settings.MaxLifetime
	if most == nil {
		return time.Time{}, invalidRequest(ReasonExtensionNotAllowed, "Sessions of this client cannot be extended; set max_lifetime in its configuration")
	}
	end, ok := row.Lifetime().Extended(now, by, most.Std())
	if !ok {
		return time.Time{}, invalidRequest(ReasonExtensionNotAllowed, "The session has reached max_lifetime of its client and cannot be extended")
	}
	return end, nil
}

// sessionEnded returns the refusal of a request about a session that has ended.
func sessionEnded(why session.EndReason) *Error {
	return invalidRequest(ReasonSessionEnded, "The session has ended").withEndReason(why)
}
