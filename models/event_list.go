package models

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
)

// EventID identifies an event. Events are ordered by their ids, which begin with
// the time of the event.
type EventID [16]byte

// ParseEventID parses the result of String.
func ParseEventID(s string) (id EventID, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(id) || len(s) != base64.RawURLEncoding.EncodedLen(len(id)) {
		return id, errors.New("not the id of an event")
	}
	return EventID(b), nil
}

// String returns the id in the form that ParseEventID parses.
func (id EventID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// EventFilter selects the events that ListEvents returns. Empty fields do not
// filter.
type EventFilter struct {
	Tenant  string   // empty: events of no tenant, such as those of admin keys
	Types   []string // outward or stored types; a type that ends in a dot matches every type that begins with it
	User    string
	Client  string
	Session *SessionID
	After   time.Time // inclusive
	Before  time.Time // exclusive

	Older EventID  // only older events than this one; zero: begin with the newest
	Newer *EventID // if set, only newer events than this one, the oldest first
	Limit int
}

// ListedEvent is an event with its id.
type ListedEvent struct {
	ID EventID
	Event
}

// ListEvents returns events, the newest first unless Newer is set. A page reads at
// most MostExamined rows. next is the last id that it read, for Older or Newer of the
// next page; it is zero on the last page.
func (s *Store) ListEvents(ctx context.Context, f EventFilter) (list []ListedEvent, next EventID, err error) {
	// The first batch is enough unless rows are filtered one by one.
	for batch, examined := f.Limit+1, 0; examined < MostExamined; batch = eventBatch {
		batch = min(batch, MostExamined-examined)
		rows, err := s.readEvents(ctx, f, batch)
		if err != nil {
			return nil, EventID{}, err
		}
		for _, e := range rows {
			if !f.matches(e.Event) {
				continue
			}
			if len(list) == f.Limit {
				return list, list[len(list)-1].ID, nil
			}
			list = append(list, e)
		}
		if len(rows) < batch {
			return list, EventID{}, nil
		}
		examined += batch
		last := rows[batch-1].ID
		if next = last; f.Newer != nil {
			f.Newer = &last
		} else {
			f.Older = last
		}
	}
	return list, next, nil
}

// eventBatch is how many events ListEvents reads at once.
const eventBatch = 500

// readEvents reads at most limit events by an index. The caller applies matches.
func (s *Store) readEvents(ctx context.Context, f EventFilter, limit int) (list []ListedEvent, err error) {
	where, args := f.indexed()
	order := " ORDER BY id DESC LIMIT ?"
	if f.Newer != nil {
		order = " ORDER BY id LIMIT ?"
	}
	err = s.longQuery(ctx, func(db *gorm.DB) (err error) {
		list, err = collect(db.Raw("SELECT "+listedColumns+" FROM events WHERE "+where+order, append(args, limit)...), func(rows *sql.Rows) (ListedEvent, error) {
			return scanEventIf(rows, f.mayMatch)
		})
		return err
	})
	return list, err
}

// mayMatch reports whether matches may accept the event, whatever its details are.
// Decoding them would cost most of the time of a page that few events match.
func (f EventFilter) mayMatch(e Event) bool {
	if f.Client != "" && e.ClientID != f.Client {
		return false
	}
	known, _, varies := strings.Cut(e.pattern(), reasonPlace)
	return len(f.Types) == 0 || slices.ContainsFunc(f.Types, func(t string) bool {
		return string(e.Type) == t || strings.HasPrefix(known, t) || varies && strings.HasPrefix(t, known)
	})
}

// EventIDs returns the ids of events after one, the oldest first, at most limit of them.
// It applies only the part of the filter that an index serves: see FindEvents.
func (s *Store) EventIDs(ctx context.Context, f EventFilter, after EventID, limit int) (ids []EventID, err error) {
	f.Newer = &after
	where, args := f.indexed()
	err = s.longQuery(ctx, func(db *gorm.DB) (err error) {
		ids, err = collect(db.Raw("SELECT id FROM events WHERE "+where+" ORDER BY id LIMIT ?", append(args, limit)...), func(rows *sql.Rows) (id EventID, err error) {
			var b []byte
			err = rows.Scan(&b)
			copy(id[:], b)
			return id, err
		})
		return err
	})
	return ids, err
}

// FindEvents returns those of some events that the filter matches.
func (s *Store) FindEvents(ctx context.Context, f EventFilter, ids []EventID) ([]ListedEvent, error) {
	list, err := s.EventsByID(ctx, f.Tenant, ids)
	return slices.DeleteFunc(list, func(e ListedEvent) bool { return !f.matches(e.Event) }), err
}

const listedColumns = "id, tenant_id, at, type, session_id, client_id, issuer_id, subject, details"

func scanListedEvent(rows *sql.Rows) (ListedEvent, error) {
	return scanEventIf(rows, func(Event) bool { return true })
}

// scanEventIf reads an event, without its details if it is not wanted.
func scanEventIf(rows *sql.Rows, wanted func(Event) bool) (e ListedEvent, err error) {
	var id, sid []byte
	var at Time
	var details string
	var client, issuer, subject sql.NullString
	if err := rows.Scan(&id, &e.TenantID, &at, &e.Type, &sid, &client, &issuer, &subject, &details); err != nil {
		return e, err
	}
	copy(e.ID[:], id)
	e.At, e.ClientID, e.IssuerID, e.Subject = at.Time, client.String, issuer.String, subject.String
	if len(sid) == len(SessionID{}) {
		session := SessionID(sid)
		e.SessionID = &session
	}
	if !wanted(e.Event) {
		return e, nil
	}
	return e, json.Unmarshal([]byte(details), &e.Details)
}

// indexed returns the part of the filter that an index serves.
func (f EventFilter) indexed() (where string, args []any) {
	where, args = "tenant_id = ?", []any{f.Tenant}
	add := func(condition string, value any) { where, args = where+" AND "+condition, append(args, value) }
	if f.Session != nil {
		add("session_id = ?", f.Session[:])
	}
	if f.User != "" {
		add("subject = ?", f.User)
	}
	if !f.After.IsZero() {
		add("id >= ?", eventsFrom(f.After))
	}
	if !f.Before.IsZero() {
		add("id < ?", eventsFrom(f.Before))
	}
	if f.Older != (EventID{}) {
		add("id < ?", f.Older[:])
	}
	if f.Newer != nil {
		add("id > ?", f.Newer[:])
	}
	return where, args
}

// matches reports whether the event has the client and one of the types.
func (f EventFilter) matches(e Event) bool {
	if f.Client != "" && e.ClientID != f.Client {
		return false
	}
	if len(f.Types) == 0 {
		return true
	}
	for _, t := range f.Types {
		prefix := strings.HasSuffix(t, ".")
		if e.Outward() == t || string(e.Type) == t || prefix && strings.HasPrefix(e.Outward(), t) {
			return true
		}
	}
	return false
}

// EventFrom returns the smallest id that an event of the given time can have.
func EventFrom(moment time.Time) (id EventID) {
	copy(id[:], eventsFrom(moment))
	return id
}

// At returns the time of the event.
func (id EventID) At() time.Time { return time.UnixMicro(int64(binary.BigEndian.Uint64(id[:8]))) }
