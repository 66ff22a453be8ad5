package models

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
)

// SessionCursor is a position in a list of sessions, which is ordered from the
// newest to the oldest. The zero value is the beginning.
type SessionCursor struct {
	CreatedAt time.Time
	ID        SessionID
}

// ErrCursor is returned for a text that is not a cursor of a list.
var ErrCursor = errors.New("invalid cursor")

// ParseSessionCursor parses what String returns.
func ParseSessionCursor(s string) (SessionCursor, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 24 || len(s) != base64.RawURLEncoding.EncodedLen(len(b)) { // DecodeString skips newlines
		return SessionCursor{}, ErrCursor
	}
	return SessionCursor{time.UnixMicro(int64(binary.BigEndian.Uint64(b))), SessionID(b[8:])}, nil
}

// String returns the cursor in the form that callers keep.
func (c SessionCursor) String() string {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.CreatedAt.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(b, c.ID[:]...))
}

// Cursor returns the position right after the session.
func (s *Session) Cursor() SessionCursor { return SessionCursor{s.CreatedAt, s.ID} }

// liveSession is the condition for the sessions of a user that, by their own
// row, are not over.
const liveSession = ` WHERE tenant_id = ? AND subject = ? AND ended_at IS NULL
	AND absolute_expires_at > ? AND (idle_expires_at IS NULL OR idle_expires_at > ?)`

// Sessions lists the usable sessions of a user at all clients: at most `limit`
// of them, after a position in the list. Whether tenant, client, issuer and
// user are enabled is read from the database, not from a cache.
func (s *Store) Sessions(ctx context.Context, tenant, sub string, now time.Time, after SessionCursor, limit int) ([]*Session, error) {
	statement, args := "SELECT "+sessionColumns+" FROM sessions"+liveSession+permitted+notDisabled, []any{tenant, sub, At(now), At(now)}
	if after != (SessionCursor{}) {
		statement, args = statement+" AND (created_at, id) < (?, ?)", append(args, after.CreatedAt.UnixMicro(), after.ID)
	}
	var list []*Session
	err := s.query(ctx, func(db *gorm.DB) (err error) {
		list, err = readSessions(db.Raw(statement+" ORDER BY created_at DESC, id DESC LIMIT ?", append(args, limit)...))
		return err
	})
	return list, err
}

// endBatch limits the sessions that one transaction ends.
const endBatch = 100

// EndSessions ends the sessions that a user has when it is called, each like
// EndSession, except the session `except` if that is not zero. It returns how
// many it ended. A session that is created meanwhile is not ended. After an
// error some may have been ended: call it again.
func (s *Store) EndSessions(ctx context.Context, tenant, sub string, except SessionID, at time.Time, why session.EndReason) (count int, err error) {
	var open []openSession
	err = s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT id, tenant_id, client_id, issuer_id, subject FROM sessions"+liveSession+" AND id <> ? ORDER BY id", // in one order, for the locks
			tenant, sub, At(at), At(at), except).Scan(&open).Error
	})
	if err != nil {
		return 0, err
	}
	return s.endEach(ctx, open, at, why)
}

// TooManySessionsError is the error of ending more sessions than was agreed to.
type TooManySessionsError struct{ Most int }

// Error implements error. The count stops at ManySessions.
func (e *TooManySessionsError) Error() string {
	return fmt.Sprintf("more than %d sessions would end", e.Most)
}

// SignOutUser ends the sessions of a user, like EndSessions, and refuses the client
// tokens that were issued before. It also ends a session that is being created.
func (s *Store) SignOutUser(ctx context.Context, tenant, sub string, at time.Time, why session.EndReason) (count int, err error) {
	err = s.exec(ctx, func(db *gorm.DB) error { return requireLaterSignIn(db, tenant, sub, at) })
	if err != nil {
		return 0, err
	}
	return s.EndSessions(ctx, tenant, sub, SessionID{}, at, why)
}

// EndFound ends the live sessions of a user, of a client, or of a user at a client,
// each like EndSession, and returns how many it ended. If there are more than `most`,
// none is ended: *TooManySessionsError. For a user at all clients, it does what
// SignOutUser does.
func (s *Store) EndFound(ctx context.Context, tenant, sub, client string, most int, why session.EndReason) (count int, err error) {
	now := s.Now()
	where, args := "tenant_id = ?", []any{tenant}
	if sub != "" {
		where, args = where+" AND subject = ?", append(args, sub)
	}
	if client != "" {
		where, args = where+" AND client_id = ?", append(args, client)
	}
	var open []openSession
	find := func(db *gorm.DB) error {
		open = nil // a transaction may run again
		err := db.Raw("SELECT id, tenant_id, client_id, issuer_id, subject FROM sessions WHERE "+where+` AND ended_at IS NULL
			AND absolute_expires_at > ? AND (idle_expires_at IS NULL OR idle_expires_at > ?) LIMIT ?`, append(args, At(now), At(now), most+1)...).Scan(&open).Error
		if err == nil && len(open) > most {
			err = &TooManySessionsError{most}
		}
		return err
	}
	if client == "" {
		err = s.transaction(ctx, func(tx *gorm.DB) error {
			if err := requireLaterSignIn(tx, tenant, sub, now); err != nil {
				return err
			}
			return find(tx)
		})
	} else {
		err = s.longQuery(ctx, find)
	}
	if err != nil {
		return 0, err
	}
	slices.SortFunc(open, func(a, b openSession) int { return bytes.Compare(a.ID[:], b.ID[:]) }) // in one order, for the locks
	return s.endEach(ctx, open, now, why)
}

// openSession is a session that is about to be ended, with what its event needs.
type openSession struct {
	ID                                    SessionID
	TenantID, ClientID, IssuerID, Subject string
}

// endEach ends sessions, in batches.
func (s *Store) endEach(ctx context.Context, open []openSession, at time.Time, why session.EndReason) (count int, err error) {
	for batch := range slices.Chunk(open, endBatch) {
		inBatch := 0
		err := s.transaction(ctx, func(tx *gorm.DB) error {
			inBatch = 0 // a transaction may run again
			for _, row := range batch {
				about := &Session{ID: row.ID, TenantID: row.TenantID, ClientID: row.ClientID, IssuerID: row.IssuerID, Subject: row.Subject}
				ended, args := endEvent(about, at, why)
				nameActor(ctx, ended.Details)
				found, err := s.recordIf(tx, ended, endSession, args...)
				if err != nil {
					return err
				}
				if found {
					inBatch++
				}
			}
			return nil
		})
		if err != nil {
			return count, err
		}
		count += inBatch
	}
	return count, nil
}
