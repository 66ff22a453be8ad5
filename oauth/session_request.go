package oauth

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/models"
)

// Limits of the number of sessions in one response.
const (
	defaultPage       = 50
	maxPage           = 200
	maxPageWithClaims = 20
)

// sessionRequest is a request to the session API whose caller is authenticated.
type sessionRequest struct {
	who   *caller
	query url.Values
	sid   string // session id in the path
	now   time.Time
}

// authenticator authenticates the caller of a request.
type authenticator func(ctx context.Context, call *Call, r *http.Request, now time.Time) (*caller, error)

// sessionEndpoint serves a request to the session API: it parses the query,
// authenticates the caller, and calls fn.
func (s *Server) sessionEndpoint(w http.ResponseWriter, r *http.Request, call *Call, authenticate authenticator, fn func(ctx context.Context, q sessionRequest) error) {
	s.serve(w, r, call, func(ctx context.Context) error {
		q := sessionRequest{sid: r.PathValue("sid"), now: s.now()}
		var err error
		if q.query, err = parseValues(r.URL.RawQuery); err != nil {
			return err
		}
		if q.who, err = authenticate(ctx, call, r, q.now); err != nil {
			return err
		}
		return fn(ctx, q)
	})
}

// subject returns the user whose sessions the request is about: the bearer's
// user, or the one that a back end names.
func (q sessionRequest) subject() (string, error) {
	named := q.query.Get("sub")
	switch {
	case q.who.own == nil && named == "":
		return "", invalidRequest(ReasonParameterMissing, "sub is required with HTTP Basic authentication; it names the user whose sessions to list or end")
	case q.who.own == nil:
		return named, nil
	case named != "":
		return "", invalidRequest(ReasonParameterUnsupported, "sub is allowed only with HTTP Basic authentication; a bearer token identifies its own user")
	default:
		return q.who.own.Subject, nil
	}
}

// except returns the session that a request to end many sessions leaves out at
// first. The zero id means none.
func (q sessionRequest) except() (models.SessionID, error) {
	switch scope := q.query.Get("scope"); {
	case q.who.own == nil && scope == "":
		return models.SessionID{}, nil
	case q.who.own != nil && (scope == "others" || scope == "all"): // all: the bearer's own comes last
		return q.who.own.ID, nil
	case q.who.own == nil:
		return models.SessionID{}, invalidRequest(ReasonParameterUnsupported, "scope is allowed only with a bearer token; with HTTP Basic authentication, all sessions of sub end")
	default:
		return models.SessionID{}, invalidRequest(ReasonParameterInvalid, "scope must be others or all")
	}
}

// page is the requested part of a list.
type page struct {
	after  models.SessionCursor
	limit  int
	claims bool // with custom claims
}

// page parses the parameters of a list.
func (q sessionRequest) page() (p page, err error) {
	switch q.query.Get("claims") {
	case "", "0":
	case "1":
		p.claims = true
	default:
		return p, invalidRequest(ReasonParameterInvalid, "claims must be 1 or 0")
	}
	most := maxPage
	if p.claims {
		most = maxPageWithClaims
	}
	p.limit = min(defaultPage, most)
	if text := q.query.Get("limit"); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n < 1 || int(n) > most {
			return p, invalidRequest(ReasonParameterInvalid, "limit must be a number from 1 to "+strconv.Itoa(most))
		}
		p.limit = int(n)
	}
	if text := q.query.Get("cursor"); text != "" {
		if p.after, err = models.ParseSessionCursor(text); err != nil {
			return p, invalidRequest(ReasonParameterInvalid, "cursor is invalid; use next_cursor from the previous page").withCause(err)
		}
	}
	return p, nil
}
