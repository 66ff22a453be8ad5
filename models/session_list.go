package models

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
)

// SessionCursor is a place in a list of sessions, which goes from the newest to
// the oldest. The zero value is its beginning.
type SessionCursor struct {
	CreatedAt time.Time
	ID        SessionID
}

// ErrCursor is a text that no list has handed out.
var ErrCursor = errors.New("not a cursor of ours")

// ParseSessionCursor reads the form that String writes.
func ParseSessionCursor(s string) (SessionCursor, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 24 || len(s) != base64.RawURLEncoding.EncodedLen(len(b)) { // it skips newlines
		return SessionCursor{}, ErrCursor
	}
	return SessionCursor{time.UnixMicro(int64(binary.BigEndian.Uint64(b))), SessionID(b[8:])}, nil
}

// String is the cursor as a caller keeps it.
func (c SessionCursor) String() string {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.CreatedAt.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(b, c.ID[:]...))
}

// Cursor is the place right behind the session.
func (s *Session) Cursor() SessionCursor { return SessionCursor{s.CreatedAt, s.ID} }

// live is the part of a statement that asks for sessions of a user that are
// not over by their own row.
const live = ` WHERE tenant_id = ? AND subject = ? AND ended_at IS NULL
	AND absolute_expires_at > ? AND (idle_expires_at IS NULL OR idle_expires_at > ?)`

// Sessions lists the sessions of a user, at every client, that may be used: at
// most `limit` of them, behind a place in the list. Whoever is switched off
// counts exactly.
func (s *Store) Sessions(ctx context.Context, tenant, sub string, now time.Time, after SessionCursor, limit int) ([]*Session, error) {
	statement, args := "SELECT "+sessionColumns+" FROM sessions"+live+permitted+notDisabled, []any{tenant, sub, At(now), At(now)}
	if after != (SessionCursor{}) {
		statement, args = statement+" AND (created_at, id) < (?, ?)", append(args, after.CreatedAt.UnixMicro(), after.ID)
	}
	var list []*Session
	err := s.query(ctx, func(db *gorm.DB) (err error) {
		list, err = collect(db.Raw(statement+" ORDER BY created_at DESC, id DESC LIMIT ?", append(args, limit)...), sessionOf)
		return err
	})
	return list, err
}

// endBatch bounds the sessions that one transaction ends.
const endBatch = 100

// EndSessions ends the sessions that a user has when it is called, each like
// EndSession, but for `except` if that is not zero, and returns how many it
// ended. A session that is opened meanwhile lives on. After an error some may
// have been ended: call it again.
func (s *Store) EndSessions(ctx context.Context, tenant, sub string, except SessionID, at time.Time, why session.EndReason) (count int, err error) {
	var open []*Session
	err = s.query(ctx, func(db *gorm.DB) (err error) {
		open, err = collect(db.Raw("SELECT id, client_id, issuer_id FROM sessions"+live+" AND id <> ? ORDER BY id", // in one order, for the locks
			tenant, sub, At(at), At(at), except), func(rows *sql.Rows) (*Session, error) {
			var id []byte
			row := &Session{TenantID: tenant, Subject: sub}
			err := rows.Scan(&id, &row.ClientID, &row.IssuerID)
			copy(row.ID[:], id)
			return row, err
		})
		return err
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

// EndFound ends the live sessions of a user, of a client, or of a user at a client,
// each like EndSession, and returns how many it ended. If there are more than `most`,
// none is ended: *TooManySessionsError.
func (s *Store) EndFound(ctx context.Context, tenant, sub, client string, most int, why session.EndReason) (count int, err error) {
	now := s.Now()
	where, args := "tenant_id = ?", []any{tenant}
	if sub != "" {
		where, args = where+" AND subject = ?", append(args, sub)
	}
	if client != "" {
		where, args = where+" AND client_id = ?", append(args, client)
	}
	var open []*Session
	err = s.longQuery(ctx, func(db *gorm.DB) (err error) {
		open, err = collect(db.Raw("SELECT id, client_id, issuer_id, subject FROM sessions WHERE "+where+` AND ended_at IS NULL
			AND absolute_expires_at > ? AND (idle_expires_at IS NULL OR idle_expires_at > ?) LIMIT ?`, append(args, At(now), At(now), most+1)...), func(rows *sql.Rows) (*Session, error) {
			var id []byte
			row := &Session{TenantID: tenant}
			err := rows.Scan(&id, &row.ClientID, &row.IssuerID, &row.Subject)
			copy(row.ID[:], id)
			return row, err
		})
		return err
	})
	if err != nil {
		return 0, err
	}
	if len(open) > most {
		return 0, &TooManySessionsError{most}
	}
	slices.SortFunc(open, func(a, b *Session) int { return bytes.Compare(a.ID[:], b.ID[:]) }) // in one order, for the locks
	return s.endEach(ctx, open, now, why)
}

// endEach ends sessions, in batches.
func (s *Store) endEach(ctx context.Context, open []*Session, at time.Time, why session.EndReason) (count int, err error) {
	for batch := range slices.Chunk(open, endBatch) {
		inBatch := 0
		err := s.transaction(ctx, func(tx *gorm.DB) error {
			inBatch = 0 // a transaction may run again
			for _, row := range batch {
				ended, args := ending(row, at, why)
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
