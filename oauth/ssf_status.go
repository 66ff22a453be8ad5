package oauth

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/latchkey/latchkey/models"
)

// streamStatus is the body of a request for a status, and the answer.
type streamStatus struct {
	StreamID string `json:"stream_id" yaml:"stream_id"`
	Status   string `json:"status" yaml:"status"`
	Reason   string `json:"reason,omitempty" yaml:"reason"`
}

func statusOf(row *models.Destination) streamStatus {
	status := streamStatus{StreamID: row.ID, Status: row.Status()}
	if status.Status == models.StreamDisabled {
		status.Reason = row.DisabledCause
	}
	return status
}

// ReadStreamStatus serves GET {iss}/ssf/status.
func (s *Server) ReadStreamStatus(w http.ResponseWriter, r *http.Request, call *Call) {
	s.serve(w, r, call, func(ctx context.Context) error {
		c, id, err := s.queryStream(ctx, call, r, ScopeSSFRead, ScopeSSFManage)
		if err != nil {
			return err
		}
		if id == "" {
			return invalidRequest(ReasonParameterMissing, "stream_id is required in the query")
		}
		row, err := s.streamOf(ctx, c, id)
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, statusOf(row))
		return nil
	})
}

// UpdateStreamStatus serves POST {iss}/ssf/status.
func (s *Server) UpdateStreamStatus(w http.ResponseWriter, r *http.Request, call *Call) {
	s.serve(w, r, call, func(ctx context.Context) error {
		var q streamStatus
		c, err := s.manageStream(ctx, call, r, &q)
		switch {
		case err != nil:
			return err
		case q.StreamID == "":
			return invalidRequest(ReasonParameterMissing, "stream_id is required")
		case q.Status != models.StreamEnabled && q.Status != models.StreamPaused && q.Status != models.StreamDisabled:
			return invalidRequest(ReasonParameterInvalid, "status must be enabled, paused or disabled")
		case len(q.Reason) > maxStreamDescription || malformed(q.Reason):
			return invalidRequest(ReasonParameterInvalid, "reason must be text of at most 255 bytes")
		}
		for range changeAttempts {
			row, version, err := s.storedStream(ctx, c, q.StreamID)
			if err != nil {
				return err
			}
			err = s.setStatus(ctx, call, c, row, version, q)
			if err == nil {
				writeJSON(w, http.StatusOK, q)
				return nil
			}
			if !errors.Is(err, errStreamChanged) {
				return err
			}
		}
		return unavailable(errStreamChanged)
	})
}

// setStatus changes the status of a stream, unless another request has changed the
// stream: errStreamChanged. What happened while the stream was disabled is not sent
// later.
func (s *Server) setStatus(ctx context.Context, call *Call, c *Client, row *models.Destination, version string, q streamStatus) error {
	key, by := models.DestinationKey{Tenant: c.TenantID, ID: row.ID}, streamActor(call, c)
	if q.Status == models.StreamDisabled {
		reason := q.Reason
		if reason == "" {
			reason = "the receiver has disabled the stream"
		}
		return s.store.DisableDestination(ctx, c.TenantID, row.ID, reason, by)
	}
	if pause := q.Status == models.StreamPaused; pause != row.Settings.Paused {
		spec, _, err := (&streamRequest{}).change(c.tenant, row, false)
		if err != nil {
			return err
		}
		spec.Paused = pause
		err = s.applyStream(ctx, call, c, spec, true, func(now string) error {
			if now != version {
				return errStreamChanged
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if row.DisabledAt.IsZero() {
		return nil
	}
	return s.store.EnableStream(ctx, key, by)
}

// verificationInterval is the time between two verification events that a client may
// request for one stream.
const verificationInterval = 10 * time.Second

// verificationLimit bounds how often verification events are requested at this node.
type verificationLimit struct {
	mu   sync.Mutex
	last map[models.DestinationKey]time.Time
}

// allow records a request and reports whether it is allowed.
func (l *verificationLimit) allow(key models.DestinationKey, now time.Time) bool {
	const most = 10_000
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, known := l.last[key]; known && now.Sub(last) < verificationInterval {
		return false
	}
	if l.last == nil || len(l.last) >= most {
		l.last = map[models.DestinationKey]time.Time{}
	}
	l.last[key] = now
	return true
}

// verificationRequest is the body of a request for a verification event.
type verificationRequest struct {
	StreamID string `yaml:"stream_id"`
	State    string `yaml:"state"`
}

// VerifyStream serves POST {iss}/ssf/verify: it sends a verification event over a
// stream (SSF 1.0 §8.1.4).
func (s *Server) VerifyStream(w http.ResponseWriter, r *http.Request, call *Call) {
	s.serve(w, r, call, func(ctx context.Context) error {
		var q verificationRequest
		c, err := s.manageStream(ctx, call, r, &q)
		switch {
		case err != nil:
			return err
		case q.StreamID == "":
			return invalidRequest(ReasonParameterMissing, "stream_id is required")
		case len(q.State) > 1024 || malformed(q.State):
			return invalidRequest(ReasonParameterInvalid, "state must be text of at most 1024 bytes")
		}
		row, err := s.streamOf(ctx, c, q.StreamID)
		if err != nil {
			return err
		}
		if !row.DisabledAt.IsZero() {
			return invalidRequest(ReasonParameterInvalid, "The stream is disabled: it sends no event")
		}
		now := s.now()
		if !s.verifications.allow(models.DestinationKey{Tenant: row.TenantID, ID: row.ID}, now) {
			return &Error{Code: "temporarily_unavailable", Reason: ReasonStreamVerifications, Status: http.StatusTooManyRequests, RetryAfter: "10",
				Description: "The stream was verified less than min_verification_interval ago"}
		}
		details := map[string]any{"destination": row.ID}
		if q.State != "" {
			details["state"] = q.State
		}
		err = s.store.AddEvent(ctx, models.Event{At: now, TenantID: row.TenantID, Type: models.EventVerification, Details: details})
		if err != nil {
			return err
		}
		noContent(w)
		return nil
	})
}
