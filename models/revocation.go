package models

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
)

// Revocation is an event that revokes access tokens: those of a session, a
// single one without a session, or all that were issued before a certain time.
// The first of these fields that is set decides which: SessionID, TokenID,
// Subject, Issuer, ClientID. If none is set, it revokes the tokens of the whole
// tenant.
type Revocation struct {
	At        time.Time
	Until     time.Time // no verifier accepts such a token from then on
	TenantID  string
	SessionID *SessionID
	TokenID   string // its jti
	Subject   string
	Issuer    string    // URL of a trusted issuer
	ClientID  string    // also of the session or the token
	Before    time.Time // if it is not about one session or token: it revokes what was issued earlier
	Audience  []string  // who may have received such a token

	ID EventID // of its event
}

// eventsFrom returns a key below the ids of all events at or after the given
// time.
func eventsFrom(moment time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(moment.UnixMicro()))
}

const (
	// revocationPage limits the rows of one statement.
	revocationPage = 5000
	// revocationChunk limits the ids in one statement.
	revocationChunk = 500
)

// Revocations lists the revocations that still matter, ordered by Until.
func (s *Store) Revocations(ctx context.Context, now time.Time) ([]*Revocation, error) {
	until, after := At(now), []byte{}
	return s.revocations(ctx, func(db *gorm.DB, last *Revocation) *gorm.DB {
		if last != nil {
			until, after = At(last.Until), last.ID[:]
		}
		return db.Raw(revocationsWhere+"(e.until, e.id) > (?, ?) ORDER BY e.until, e.id LIMIT ?", until, after, revocationPage)
	})
}

// RevocationsFrom lists those that are stamped at or after a certain time and
// not known yet, ordered by id. Of those that are known, which is most of them
// because looks overlap, it reads only the ids.
func (s *Store) RevocationsFrom(ctx context.Context, now, from time.Time, known func(tenant string, id EventID) bool) (all []*Revocation, err error) {
	for after := eventsFrom(from); after != nil; {
		unknown, last, err := s.unknownRevocations(ctx, after, known)
		if err != nil {
			return nil, err
		}
		for ids := range slices.Chunk(unknown, revocationChunk) {
			found, err := s.revocations(ctx, func(db *gorm.DB, _ *Revocation) *gorm.DB {
				return db.Raw(revocationsWhere+"e.until > ? AND e.id IN ? ORDER BY e.id", At(now), ids)
			})
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
		after = last
	}
	return all, nil
}

// unknownRevocations reads a page of ids and returns where the next page
// begins; last is nil on the last page.
func (s *Store) unknownRevocations(ctx context.Context, after []byte, known func(tenant string, id EventID) bool) (unknown [][]byte, last []byte, err error) {
	type event struct {
		id     []byte
		tenant string
	}
	var page []event
	err = s.query(ctx, func(db *gorm.DB) (err error) {
		page, err = collect(db.Raw("SELECT id, tenant_id FROM events WHERE until IS NOT NULL AND id > ? ORDER BY id LIMIT ?", after, revocationPage),
			func(rows *sql.Rows) (e event, err error) {
				err = rows.Scan(&e.id, &e.tenant)
				return e, err
			})
		return err
	})
	for _, e := range page {
		if len(e.id) != len(EventID{}) || !known(e.tenant, EventID(e.id)) {
			unknown = append(unknown, e.id)
		}
	}
	if len(page) == revocationPage {
		last = page[len(page)-1].id
	}
	return unknown, last, err
}

// revocationsWhere joins the sessions for their audience. The row of a session
// is kept for longer than a revocation of it matters (session.Retention).
const revocationsWhere = `SELECT e.id, e.at, e.until, e.tenant_id, e.session_id, e.client_id, e.subject, e.details, s.audience
	FROM events e LEFT JOIN sessions s ON s.id = e.session_id WHERE e.until IS NOT NULL AND `

// revocations reads page after page, so that no statement takes long.
func (s *Store) revocations(ctx context.Context, page func(db *gorm.DB, last *Revocation) *gorm.DB) (all []*Revocation, err error) {
	for more := true; more; {
		var last *Revocation
		if len(all) > 0 {
			last = all[len(all)-1]
		}
		var found []*Revocation
		err := s.query(ctx, func(db *gorm.DB) (err error) {
			found, err = collect(page(db, last), scanRevocation)
			return err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
		more = len(found) == revocationPage
	}
	return all, nil
}

// hasMoreDetails reports whether the details of an event add something to its
// columns. Those of an ended session, which nearly all are, do not.
func hasMoreDetails(details []byte) bool {
	for _, member := range []string{`"jti"`, `"issuer"`, `"before"`, `"audience"`} {
		if bytes.Contains(details, []byte(member)) {
			return true
		}
	}
	return false
}

// scanRevocation copies only what it keeps, because a node reads thousands of
// rows when it starts.
func scanRevocation(row *sql.Rows) (*Revocation, error) {
	var (
		r                          Revocation
		id, sid, details, audience sql.RawBytes // audience: of the session
		at, until                  Time
	)
	if err := row.Scan(&id, &at, &until, &r.TenantID, &sid, &r.ClientID, &r.Subject, &details, &audience); err != nil {
		return nil, err
	}
	if len(id) != len(r.ID) {
		return nil, fmt.Errorf("revocation %x: its id is malformed", []byte(id))
	}
	r.ID, r.At, r.Until = EventID(id), at.Time, until.Time
	if len(sid) == len(SessionID{}) {
		of := SessionID(sid)
		r.SessionID = &of
	}
	if hasMoreDetails(details) {
		var named struct {
			TokenID  string   `json:"jti"`
			Issuer   string   `json:"issuer"`
			Before   int64    `json:"before"`
			Audience []string `json:"audience"`
		}
		if err := json.Unmarshal(details, &named); err != nil {
			return nil, fmt.Errorf("revocation %x: %w", []byte(id), err)
		}
		r.TokenID, r.Issuer, r.Audience = named.TokenID, named.Issuer, named.Audience
		if named.Before != 0 {
			r.Before = time.Unix(named.Before, 0).UTC()
		}
	}
	r.Audience = append(r.Audience, strings.Fields(string(audience))...)
	return &r, nil
}

// Epoch identifies the database. A database that is created again has another
// one.
func (s *Store) Epoch(ctx context.Context) (epoch string, err error) {
	err = s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT value FROM settings WHERE name = 'epoch'").Row().Scan(&epoch)
	})
	return epoch, err
}
