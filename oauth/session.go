package oauth

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/expr"
)

// Session serves GET {iss}/session, which returns the session of the bearer
// token. Reading a session is not an activity of it.
func (s *Server) Session(w http.ResponseWriter, r *http.Request, call *Call) {
	s.sessionEndpoint(w, r, call, s.authenticateBearer, func(_ context.Context, q sessionRequest) error {
		writeJSON(w, http.StatusOK, q.who.describeWithClaims(expr.NewBudget(), q.who.own, q.now))
		return nil
	})
}

// SignOut serves DELETE {iss}/session, which ends the session of the bearer
// token.
func (s *Server) SignOut(w http.ResponseWriter, r *http.Request, call *Call) {
	s.sessionEndpoint(w, r, call, s.authenticateBearer, func(ctx context.Context, q sessionRequest) error {
		return s.end(ctx, w, q, q.who.own)
	})
}

// Sessions serves GET {iss}/sessions, which lists the live sessions of a user
// at every client of the tenant, newest first.
func (s *Server) Sessions(w http.ResponseWriter, r *http.Request, call *Call) {
	s.sessionEndpoint(w, r, call, s.authenticateEither, func(ctx context.Context, q sessionRequest) error {
		sub, err := q.subject()
		if err != nil {
			return err
		}
		p, err := q.page()
		if err != nil {
			return err
		}
		rows, err := s.store.Sessions(ctx, q.who.tenant.ID, sub, q.now, p.after, p.limit+1)
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, q.list(rows, p))
		return nil
	})
}

// sessionList is one page of sessions.
type sessionList struct {
	Items []sessionObject `json:"items"`
	Next  *string         `json:"next_cursor"` // null: this is the last page
}

// list returns a page of rows, which may contain one more row than the page's
// limit. With custom claims, the page ends early when the request's budget for
// them is spent.
func (q sessionRequest) list(rows []*models.Session, p page) sessionList {
	list, b := sessionList{Items: []sessionObject{}}, expr.NewBudget()
	for i, row := range rows {
		if i == p.limit || b.Spent() {
			list.Next = orNull(rows[i-1].Cursor().String())
			break
		}
		if p.claims {
			list.Items = append(list.Items, q.who.describeWithClaims(b, row, q.now))
		} else {
			list.Items = append(list.Items, q.who.describe(row, q.now))
		}
	}
	return list
}

// NamedSession serves GET {iss}/sessions/{sid}, which returns a session. An
// ended session can be read until its row is deleted.
func (s *Server) NamedSession(w http.ResponseWriter, r *http.Request, call *Call) {
	s.sessionEndpoint(w, r, call, s.authenticateEither, func(ctx context.Context, q sessionRequest) error {
		row, err := s.sessionOf(ctx, q.who, q.sid)
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, q.who.describeWithClaims(expr.NewBudget(), row, q.now))
		return nil
	})
}

// EndSession serves DELETE {iss}/sessions/{sid}. A session that has already
// ended stays as it is.
func (s *Server) EndSession(w http.ResponseWriter, r *http.Request, call *Call) {
	s.sessionEndpoint(w, r, call, s.authenticateEither, func(ctx context.Context, q sessionRequest) error {
		row, err := s.sessionOf(ctx, q.who, q.sid)
		if err != nil {
			return err
		}
		return s.end(ctx, w, q, row)
	})
}

// EndSessions serves DELETE {iss}/sessions. A user ends all their other
// sessions or all of them; a back end ends all sessions of a user.
func (s *Server) EndSessions(w http.ResponseWriter, r *http.Request, call *Call) {
	s.sessionEndpoint(w, r, call, s.authenticateEither, func(ctx context.Context, q sessionRequest) error {
		sub, err := q.subject()
		if err != nil {
			return err
		}
		except, err := q.except()
		if err != nil {
			return err
		}
		ended, err := s.store.EndSessions(q.who.ending(ctx), q.who.tenant.ID, sub, except, q.now, q.who.endReason(models.SessionID{}))
		if err != nil {
			return err
		}
		if q.query.Get("scope") == "all" {
			if err := s.endOne(ctx, q, q.who.own); err != nil {
				return err
			}
			ended++
		}
		w.Header().Set("Latchkey-Sessions-Ended", strconv.Itoa(ended))
		writeNoContent(w)
		return nil
	})
}

// end ends a session and then sends the response.
func (s *Server) end(ctx context.Context, w http.ResponseWriter, q sessionRequest, row *models.Session) error {
	if err := s.endOne(ctx, q, row); err != nil {
		return err
	}
	writeNoContent(w)
	return nil
}

// endOne ends a session unless it has already ended.
func (s *Server) endOne(ctx context.Context, q sessionRequest, row *models.Session) error {
	if _, _, ended := row.Lifetime().Ended(q.now); ended {
		return nil
	}
	return s.store.EndSession(q.who.ending(ctx), row, q.now, q.who.endReason(row.ID))
}

// sessionOf returns the session with the given id. The session of another user
// is reported as not found.
func (s *Server) sessionOf(ctx context.Context, who *caller, sid string) (*models.Session, error) {
	unknown := &Error{Code: "not_found", Reason: ReasonSessionNotFound, Status: http.StatusNotFound, Description: "Session not found"}
	id, err := models.ParseSessionID(sid)
	if err != nil {
		return nil, unknown
	}
	row, err := s.store.Session(ctx, who.tenant.ID, id)
	if errors.Is(err, models.ErrNotFound) || err == nil && !who.maySee(row) {
		return nil, unknown
	}
	return row, err
}

// writeNoContent sends the response 204.
func writeNoContent(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	w.WriteHeader(http.StatusNoContent)
}
