package oauth

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// retryLate records a late retry before it is answered, so that every node
// rejects a second one soon after. It returns false if the row has changed
// since it was read.
func (s *Server) retryLate(ctx context.Context, call *Call, row *models.Session, f session.RefreshFacts, now time.Time) (recorded bool, err error) {
	next := f.LastLate.Next(now, row.Refresh.Generation, f.ContactSince)
	if next != f.LastLate {
		if recorded, err = s.store.RetryLate(ctx, row, next, now, lateRetryDetails(call, row)); err != nil || !recorded {
			return false, err
		}
	}
	s.logLateRetry(call, row, next)
	return true, s.recordRetry(ctx, call, row, now)
}

// lateRetryDetails returns the details of an event about a late retry: who used
// the session last, and who retries. If they differ, one of them may be a
// thief.
func lateRetryDetails(call *Call, row *models.Session) map[string]any {
	details := map[string]any{"generation": row.Refresh.Generation, "rotated_at": row.Refresh.RotatedAt.Unix()}
	if call.fromElsewhere(row) {
		details["elsewhere"] = true
	}
	return call.withDevice(details, row)
}

// logLateRetry logs a late retry.
func (s *Server) logLateRetry(call *Call, row *models.Session, l session.LateRetry) {
	s.log.Info("refresh token retried late", "tenant", row.TenantID, "client", row.ClientID, "session", row.ID.String(),
		"generation", l.Generation, "repeats", l.Repeats, "from_elsewhere", call.fromElsewhere(row))
}
