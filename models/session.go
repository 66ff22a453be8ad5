package models

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
)

// SessionID identifies a session: 128 random bits. It is not a credential.
type SessionID [16]byte

// NewSessionID returns a new random id. Its text does not begin with "-", so that it
// can be an argument of a command.
func NewSessionID() (id SessionID) {
	for {
		rand.Read(id[:])
		if id.String()[0] != '-' {
			return id
		}
	}
}

// ParseSessionID parses what String returns.
func ParseSessionID(s string) (id SessionID, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(id) || len(s) != base64.RawURLEncoding.EncodedLen(len(id)) { // DecodeString skips newlines
		return id, ErrNotFound
	}
	return SessionID(b), nil
}

// String returns the id as in `sid` claims.
func (id SessionID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// Session is a session's row, with the attributes that its user had when it was
// read.
type Session struct {
	ID        SessionID
	TenantID  string
	ClientID  string
	IssuerID  string // trusted issuer entry that vouched for the user
	Subject   string
	CreatedAt time.Time
	AuthTime  time.Time

	LastActiveAt   time.Time
	AbsoluteExpiry time.Time
	IdleExpiry     time.Time // zero: none
	EndedAt        time.Time // zero: not marked as ended
	EndReason      session.EndReason

	Refresh      Chain
	SessionToken Chain

	Factors    []session.Factor
	StoredACR  *string          // class of the factors by the tenant's own rules; nil: the default classes decide
	Decided    session.Decision // by the tenant's own rules, with StoredACR as the strongest class; zero: an earlier release decided
	Attributes map[string]any
	Scope      []string
	Audience   []string

	Status *StatusEntry // nil: the session is on no status list

	UpstreamSID string // sid of the ID token, to create the session with; it is not read

	DeviceName string
	UserAgent  string // of the last use
	IP         string // of the last use

	UserAttributes   map[string]any
	AttributeSources map[string]string // who set each of them

	History *History // nil: not read
}

// History is what the row records about how its handles were issued. It is
// needed only to reject a request or to repeat a response.
type History struct {
	LateRetry session.LateRetry
	StepUp    StepUp

	PreviousRoot uint32 // root of the refresh token before the current one; 0: there was none
}

// Chain is what the row stores of a chain of single-use tokens: digests of the
// current one and of its successor, never a token.
type Chain struct {
	Generation  uint32
	Digest      []byte // empty: the session has no such token
	Next        []byte
	RootVersion uint32
	RotatedAt   time.Time // zero: never
}

// Lifetime returns what decides whether the session is over.
func (s *Session) Lifetime() session.Lifetime {
	return session.Lifetime{
		CreatedAt: s.CreatedAt, AbsoluteExpiry: s.AbsoluteExpiry, IdleExpiry: s.IdleExpiry,
		EndedAt: s.EndedAt, EndReason: s.EndReason,
	}
}

// Value implements driver.Valuer. GORM would treat a bare array as a list.
func (id SessionID) Value() (driver.Value, error) { return id[:], nil }

// Scan implements sql.Scanner.
func (id *SessionID) Scan(src any) error {
	b, ok := src.([]byte)
	if !ok || len(b) != len(id) {
		return fmt.Errorf("session id: unexpected %T of %d bytes", src, len(b))
	}
	*id = SessionID(b)
	return nil
}

// decision returns the value of acr_times; nil if the default classes decide.
func (s *Session) decision() (any, error) {
	if s.StoredACR == nil {
		return nil, nil
	}
	text, err := json.Marshal(s.Decided)
	return string(text), err
}

// scanDecision parses what decision returned. A release that does not know
// acr_times may have changed acr since; a decision that no longer matches acr
// is ignored.
func (s *Session) scanDecision(text string) error {
	if text == "" || s.StoredACR == nil {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &s.Decided); err != nil {
		return err
	}
	if s.Decided.Proofs.Best().ACR != *s.StoredACR {
		s.Decided = session.Decision{}
	}
	return nil
}

// Session reads a session of a tenant, whether or not it is over.
func (s *Store) Session(ctx context.Context, tenant string, id SessionID) (*Session, error) {
	var found *Session
	err := s.query(ctx, func(db *gorm.DB) (err error) {
		found, err = readSession(db.Raw("SELECT "+sessionColumns+" FROM sessions WHERE id = ? AND tenant_id = ?", id, tenant))
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// SessionWithHistory is Session with History set.
func (s *Store) SessionWithHistory(ctx context.Context, tenant string, id SessionID) (found *Session, err error) {
	err = s.query(ctx, func(db *gorm.DB) error {
		found, err = readHistory(db.Raw("SELECT "+sessionColumns+", "+historyColumns+" FROM sessions WHERE id = ? AND tenant_id = ?", id, tenant))
		return err
	})
	return found, err
}

// permitted is the condition that the session's issuer and user are enabled. It
// is exact, while tenant and client are known from a cache.
const permitted = ` AND EXISTS (SELECT 1 FROM trusted_issuers i WHERE i.tenant_id = sessions.tenant_id AND i.id = sessions.issuer_id
		AND NOT i.disabled AND i.suspended_at IS NULL AND sessions.created_at >= COALESCE(i.sessions_valid_from, 0))
	AND EXISTS (SELECT 1 FROM users u WHERE u.tenant_id = sessions.tenant_id AND u.sub = sessions.subject AND NOT u.disabled AND u.suspended_at IS NULL)`

// notDisabled is the same condition for tenant and client, where a cache is not
// exact enough.
const notDisabled = `
	AND EXISTS (SELECT 1 FROM tenants t JOIN clients c ON c.tenant_id = t.id WHERE t.id = sessions.tenant_id AND c.id = sessions.client_id
		AND sessions.created_at >= COALESCE(t.sessions_valid_from, 0) AND sessions.created_at >= COALESCE(c.sessions_valid_from, 0) AND sessions.created_at >= c.created_at)`

// Permitted reports whether the session's issuer and user are enabled now.
func (s *Store) Permitted(ctx context.Context, id SessionID) (bool, error) {
	var n int
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT count(*) FROM sessions WHERE id = ?"+permitted, id).Row().Scan(&n)
	})
	return n == 1, err
}

// Rotation is one step of a session's refresh chain.
type Rotation struct {
	Tenant, Client string
	ID             SessionID
	From           uint32 // current generation of the row
	Presented      []byte // digest of the presented token under the row's root
	PresentedRoot  uint32 // root of the presented token, which a late retry needs
	Recover        bool   // the presented token is the row's next one, not its current one
	To             Chain  // the row's chain afterwards
	IdleExpiry     time.Time
	ValidFrom      time.Time // sessions created before are rejected
	UserAgent, IP  string
}

// RotateSession rotates the refresh token if the presented token is still the
// one that may be rotated, and returns the session afterwards. It is one
// statement: of parallel attempts one succeeds. ErrNotFound means that nothing
// matched and nothing changed.
func (s *Store) RotateSession(ctx context.Context, r Rotation) (rotated *Session, err error) {
	if !r.Recover {
		err = s.exec(ctx, func(db *gorm.DB) error { rotated, err = rotate(db, r); return err })
		return rotated, err
	}
	err = s.transaction(ctx, func(tx *gorm.DB) error {
		if rotated, err = rotate(tx, r); err != nil {
			return err
		}
		return insertEvent(tx, rotated.Event(r.To.RotatedAt, EventGenerationRecovered, map[string]any{
			"generation": r.To.Generation - 1, "ip": r.IP, "user_agent": r.UserAgent,
		}))
	})
	return rotated, err
}

func rotate(db *gorm.DB, r Rotation) (*Session, error) {
	column := "refresh_digest"
	if r.Recover {
		column = "next_digest"
	}
	now := At(r.To.RotatedAt)
	set, args := setList([]assignment{
		{"generation", r.To.Generation}, {"refresh_digest", r.To.Digest}, {"next_digest", r.To.Next}, {"root_version", r.To.RootVersion},
		{"previous_root_version", r.PresentedRoot}, {"rotated_at", now}, {"last_active_at", now}, {"idle_expires_at", At(r.IdleExpiry)},
		{"user_agent", r.UserAgent}, {"ip", r.IP},
	})
	return readSession(db.Raw("UPDATE sessions SET "+set+`, step_up_tokens = NULL, step_up_before = NULL
		WHERE id = ? AND tenant_id = ? AND client_id = ? AND generation = ? AND `+column+` = ?
			AND ended_at IS NULL AND absolute_expires_at > ? AND (idle_expires_at IS NULL OR idle_expires_at > ?)
			AND created_at >= ?`+permitted+`
		RETURNING `+sessionColumns,
		append(args, r.ID, r.Tenant, r.Client, r.From, r.Presented, now, now, unixMicroOrZero(r.ValidFrom))...))
}

// unixMicroOrZero returns t for a comparison in which the zero time comes
// first.
func unixMicroOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Event returns an event about the session.
func (s *Session) Event(at time.Time, what EventType, details map[string]any) Event {
	return Event{
		At: at, TenantID: s.TenantID, Type: what, SessionID: &s.ID,
		ClientID: s.ClientID, IssuerID: s.IssuerID, Subject: s.Subject, Details: details,
	}
}

// EndSession ends a session for good and records it in the event log, with the
// events in `also` in the same transaction. The event names the actor of ctx. If
// the session has already ended, nothing changes and nothing is recorded.
func (s *Store) EndSession(ctx context.Context, about *Session, at time.Time, why session.EndReason, also ...Event) error {
	ended, args := endEvent(about, at, why)
	nameActor(ctx, ended.Details)
	if len(also) == 0 {
		return s.recorded(ctx, ended, endSession, args...)
	}
	return s.transaction(ctx, func(tx *gorm.DB) error {
		if found, err := s.recordIf(tx, ended, endSession, args...); err != nil || !found {
			return err
		}
		for _, e := range also {
			if err := insertEvent(tx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

const endSession = "UPDATE sessions SET ended_at = ?, end_reason = ?, prune_at = ? WHERE id = ? AND ended_at IS NULL"

// endEvent returns the event of a session's end and the arguments of
// endSession. Until covers the access tokens of the session. A session that
// ends by time needs that only if its end was moved (expireSession).
func endEvent(about *Session, at time.Time, why session.EndReason) (e Event, args []any) {
	e = about.Event(at, EventSessionEnded, map[string]any{"reason": why})
	e.Until, e.extendUntil = session.RevokedUntil(at, 0), true
	return e, []any{At(at), why, At(at.Add(session.Retention)), about.ID}
}
