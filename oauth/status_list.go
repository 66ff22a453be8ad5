package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
)

const (
	// statusListJWT is the media type of a status list (Token Status List §8.2).
	statusListJWT = "application/statuslist+jwt"
	// typStatusList is the typ of a status list (Token Status List §5.1).
	typStatusList = "statuslist+jwt"
)

// statusClaim returns the claim that refers to the status of a token (Token
// Status List §6.2).
func (t *Tenant) statusClaim(of models.StatusEntry) map[string]any {
	return map[string]any{"status_list": map[string]any{"idx": of.Index, "uri": t.statusURI(of.List)}}
}

// statusURI returns the address of a list.
func (t *Tenant) statusURI(list int64) string {
	return t.Issuer + "/status/" + strconv.FormatInt(list, 10)
}

// parseStatusList parses the last segment of statusURI. It accepts only the
// spelling that statusURI produces.
func parseStatusList(name string) (list int64, ok bool) {
	list, err := strconv.ParseInt(name, 10, 64)
	return list, err == nil && list >= 0 && list <= 1<<32 && strconv.FormatInt(list, 10) == name
}

// StatusList serves {iss}/status/{list} to anybody.
func (s *Server) StatusList(w http.ResponseWriter, r *http.Request, call *Call) {
	s.serve(w, r, call, func(ctx context.Context) error {
		if r.URL.Query().Has("time") {
			return &Error{Code: "not_implemented", Reason: ReasonNotImplemented, Status: http.StatusNotImplemented, Description: "time is not supported: only the current status list is available"} // §8.4
		}
		if accepted := r.Header.Values("Accept"); strings.Join(accepted, "") != "" && quality(accepted, statusListJWT, "application/*", "*/*") == 0 {
			return &Error{Code: "not_acceptable", Reason: ReasonNotAcceptable, Status: http.StatusNotAcceptable, Description: "The Accept header must allow " + statusListJWT}
		}
		list, named := parseStatusList(r.PathValue("list"))
		if !named {
			return noStatusList(errors.New("the name of the list is not a number"))
		}
		token, err := s.statusList(ctx, call.Tenant, list)
		if errors.Is(err, models.ErrNotFound) {
			return noStatusList(err)
		}
		if err != nil {
			return err
		}
		token.write(w, r, s.now())
		return nil
	})
}

// noStatusList returns the refusal of a request for a list that does not exist.
func noStatusList(cause error) *Error {
	return (&Error{Code: "not_found", Reason: ReasonNotFound, Status: http.StatusNotFound, Description: "Status list not found"}).withCause(cause)
}

// write sends the token, compressed if the caller accepts that. Shared caches
// keep it only for a moment, because a verifier counts ttl from the time of its
// request.
func (t *statusToken) write(w http.ResponseWriter, r *http.Request, now time.Time) {
	h := w.Header()
	body, etag := t.plain, `"`+t.etag+`"`
	if t.gzip != nil && quality(r.Header.Values("Accept-Encoding"), "gzip", "*") > 0 {
		h.Set("Content-Encoding", "gzip")
		body, etag = t.gzip, `"`+t.etag+`-gzip"`
	}
	h.Set("Content-Type", statusListJWT)
	h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d, s-maxage=1", max(0, min(statusTTL, t.exp.Sub(now))/time.Second)))
	h.Set("ETag", etag)
	h.Add("Vary", "Accept-Encoding")
	if namesETag(r.Header.Get("If-None-Match"), etag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	w.Write(body)
}
