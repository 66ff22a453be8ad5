package models

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// Reasons why an exchange is rejected inside its transaction.
var (
	ErrTokenSpent   = errors.New("the client token was used before")
	ErrUserDisabled = errors.New("the user is disabled or suspended")
	ErrUserUnknown  = errors.New("the user is unknown and may not be created")
	ErrSessionLimit = errors.New("session limit reached")
	ErrNotPermitted = errors.New("tenant, client or issuer is disabled or suspended")
	ErrTooLarge     = errors.New("too large to store")
)

// MaxAttribute limits the size of one stored attribute, as JSON, in bytes.
const MaxAttribute = 4 << 10

// SpentToken marks a client token as used.
type SpentToken struct {
	Issuer    string
	Digest    []byte    // SHA-256 of its jti
	IssuedAt  time.Time // its iat
	ExpiresAt time.Time // when no check would accept it any more

	loggedOutAt time.Time // when its issuer ended what it is about
}

// NewSession is everything that one exchange writes.
type NewSession struct {
	Session
	Mapped         Mapped     // attributes from the client token
	Token          SpentToken // client token that the exchange uses up
	Upstream       *Upstream  // nil: the trusted issuer may not revoke
	CreateUser     bool       // create the user if there is none
	UserDigest     []byte     // identifies that user in a suspension (SuspensionKey)
	Cap            *settings.SessionCap
	OnStatusList   bool           // give it an entry of a status list
	RecordCreation map[string]any // details of the event
}

// CreateSession creates a session in one transaction: it marks the client token
// as used, checks again that everyone involved is enabled, creates or updates
// the user, enforces the cap and writes the events. `sign` runs last, with the
// session as stored; if it fails, nothing is committed.
func (s *Store) CreateSession(ctx context.Context, n NewSession, sign func(*Session) error) (*Session, error) {
	var created *Session
	err := s.transaction(ctx, func(tx *gorm.DB) error {
		created = new(Session)
		*created = n.Session
		token := n.Token
		var err error
		if token.loggedOutAt, err = lockUpstream(tx, created, n.Upstream); err != nil {
			return err
		}
		stored, err := s.spend(tx, created, token)
		if err != nil {
			return err
		}
		made, removed, err := s.applyToUser(tx, created, stored, token, n.Mapped, n.CreateUser)
		if err != nil {
			return err
		}
		if err := storeUpstreamSubject(tx, created, n.Upstream); err != nil {
			return err
		}
		e := created.Event(n.CreatedAt, EventSessionCreated, withRemoved(n.RecordCreation, removed))
		e.extraChange = stored.seenUpdate(n.CreatedAt)
		if err := s.enforceCap(tx, created, n.Cap); err != nil {
			return err
		}
		if made && n.UserDigest != nil {
			e.unless = &statement{suspendedUser, []any{n.TenantID, KindUser, n.UserDigest}}
		}
		if err := s.insertSession(tx, created, n.OnStatusList, e); err != nil {
			return err
		}
		return sign(created)
	})
	if err != nil {
		return nil, err
	}
	return created, nil
}

// spend marks the client token as used (the primary key admits one of two
// concurrent uses), locks the user row, so that sessions of one user are
// counted one after the other, and checks that everyone else is enabled. It
// checks the tables, because a node's cache may lag behind them.
//
// PostgreSQL re-reads the user after acquiring the lock, but sees the other
// tables as of the statement's start. If one of those objects is disabled in
// the meantime, the session is rejected whenever it is used; re-enabling the
// object sets a new SessionsValidFrom, so that the session stays rejected.
func (s *Store) spend(tx *gorm.DB, about *Session, t SpentToken) (*User, error) {
	with, args, err := s.dialect.withChange(tx, "INSERT INTO spent_tokens (tenant_id, issuer, jti_digest, expires_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
		about.TenantID, t.Issuer, t.Digest, At(t.ExpiresAt))
	if err != nil {
		return nil, err
	}
	var spent, permitted int
	var validFrom sql.NullInt64   // NULL: the database was never restored
	var attributes sql.NullString // NULL: no such user
	var disabled, suspended sql.NullBool
	var seen, after Time
	columns, values, into := selectList(
		selected{"spent.n", &spent, nil},
		selected{"u.stored", &attributes, nil}, selected{"u.disabled", &disabled, nil},
		selected{"u.suspended", &suspended, nil}, selected{"u.seen_at", &seen, nil},
		selected{"u.authenticated_after", &after, nil},
		selected{`(SELECT count(*) FROM tenants t
			JOIN clients c ON c.tenant_id = t.id AND c.id = ? AND NOT c.disabled AND c.suspended_at IS NULL
			JOIN trusted_issuers i ON i.tenant_id = t.id AND i.id = ? AND NOT i.disabled AND i.suspended_at IS NULL
			WHERE t.id = ? AND NOT t.disabled AND t.suspended_at IS NULL AND t.pruned_at IS NULL)`, &permitted,
			[]any{about.ClientID, about.IssuerID, about.TenantID}},
		selected{"(SELECT CAST(value AS BIGINT) FROM settings WHERE name = ?)", &validFrom, []any{clientTokensValidFrom}})
	args = append(append(args, values...), about.TenantID, about.Subject)
	err = tx.Raw(with+"SELECT "+columns+` FROM (SELECT count(*) AS n FROM changed) spent
			LEFT JOIN (SELECT `+attributesAndSources+` AS stored, disabled, suspended_at IS NOT NULL AS suspended, seen_at, authenticated_after FROM users
				WHERE tenant_id = ? AND sub = ?`+s.dialect.forUpdate+`) u ON spent.n = 1`, args...).Row().Scan(into...)
	switch {
	case err != nil:
		return nil, err
	case spent == 0:
		return nil, ErrTokenSpent
	case validFrom.Valid && t.IssuedAt.UnixMicro() < validFrom.Int64:
		return nil, ErrTokenBeforeRestore
	case permitted == 0:
		return nil, ErrNotPermitted
	case !attributes.Valid:
		return nil, nil
	default:
		user, err := newUser(about.TenantID, about.Subject, attributes.String, disabled.Bool, suspended.Bool)
		user.SeenAt, user.AuthenticatedAfter = seen.Time, after.Time
		return user, err
	}
}

// NoteReplay records the first replay of a client token as an event. Later ones
// are not recorded, so that the holder of a used token cannot fill the log.
func (s *Store) NoteReplay(ctx context.Context, t SpentToken, e Event) error {
	return s.recorded(ctx, e, "UPDATE spent_tokens SET replayed_at = ? WHERE tenant_id = ? AND issuer = ? AND jti_digest = ? AND replayed_at IS NULL",
		At(e.At), e.TenantID, t.Issuer, t.Digest)
}

// applyToUser stores on the user what the client token contributes. It creates
// the user if there is none and create is set. The user's row stays locked. It
// returns the names of the attributes that it removes.
func (s *Store) applyToUser(tx *gorm.DB, about *Session, stored *User, t SpentToken, m Mapped, create bool) (made bool, removed []string, err error) {
	if stored == nil {
		if !create {
			return false, nil, ErrUserUnknown
		}
		first, _ := stored.After(m)
		fresh := User{TenantID: about.TenantID, Sub: about.Subject, Attributes: first.Values, Sources: first.Sources, At: about.CreatedAt}
		if stored, made, err = s.createUser(tx, fresh); err != nil {
			return made, nil, err
		}
	}
	if stored.Disabled || stored.Suspended {
		return false, nil, ErrUserDisabled
	}
	if err := stored.checkAuthenticated(t); err != nil {
		return false, nil, err
	}
	after, removed := stored.After(m)
	about.UserAttributes, about.AttributeSources = after.Values, after.Sources
	if made {
		return true, nil, nil
	}
	values, sources, err := after.text()
	if err != nil || values+sources == stored.text {
		return false, nil, err
	}
	stored.Attributes, stored.Sources, stored.At = after.Values, after.Sources, about.CreatedAt
	return false, removed, updateUser(tx, stored)
}

// withRemoved adds the names of removed attributes to an event's details.
func withRemoved(details map[string]any, removed []string) map[string]any {
	if len(removed) == 0 {
		return details
	}
	details = maps.Clone(details)
	if details == nil {
		details = map[string]any{}
	}
	details["attributes_removed"] = removed
	return details
}

// enforceCap makes room for one more session of the user at the client, or
// returns ErrSessionLimit. The user's row is locked, so the count is exact.
// Sessions that are rejected by now do not count.
func (s *Store) enforceCap(tx *gorm.DB, about *Session, limit *settings.SessionCap) error {
	if limit == nil {
		return nil
	}
	now := At(about.CreatedAt)
	issuers := map[string]string{}
	active, err := collect(tx.Raw(`SELECT id, issuer_id, created_at, last_active_at FROM sessions
		WHERE tenant_id = ? AND subject = ? AND client_id = ? AND ended_at IS NULL
			AND absolute_expires_at > ? AND (idle_expires_at IS NULL OR idle_expires_at > ?)`+permitted+notDisabled,
		about.TenantID, about.Subject, about.ClientID, now, now), func(rows *sql.Rows) (session.Active, error) {
		var id []byte
		var issuer string
		var created, used Time
		err := rows.Scan(&id, &issuer, &created, &used)
		issuers[string(id)] = issuer
		return session.Active{ID: string(id), CreatedAt: created.Time, LastActiveAt: used.Time}, err
	})
	if err != nil {
		return err
	}
	evicted := session.Evict(active, limit.Limit)
	if len(evicted) > 0 && limit.WhenFull == settings.Reject {
		return ErrSessionLimit
	}
	for _, id := range evicted {
		old := &Session{ID: SessionID([]byte(id)), TenantID: about.TenantID, ClientID: about.ClientID, IssuerID: issuers[id], Subject: about.Subject}
		ended, args := endEvent(old, about.CreatedAt, session.Evicted)
		if err := s.record(tx, ended, endSession, args...); err != nil {
			return err
		}
	}
	return nil
}

// insertSession writes the session and the event of its creation. If the
// session is to be on a status list, it gets an entry that no other session
// has. If the user was just created, created.unless finds out whether they have
// been suspended meanwhile.
func (s *Store) insertSession(tx *gorm.DB, n *Session, onStatusList bool, created Event) error {
	for {
		if onStatusList {
			entry, err := s.drawStatusEntry(tx, n.TenantID, n.CreatedAt)
			if err != nil {
				return err
			}
			n.Status = &entry
		}
		if inserted, err := s.tryInsertSession(tx, n, created); err != nil || inserted {
			return err
		}
		if unless := created.unless; unless != nil {
			var refused int
			err := tx.Raw("SELECT count(*) FROM ("+unless.text+") refused", unless.args...).Row().Scan(&refused)
			if err == nil && refused > 0 {
				err = ErrUserDisabled
			}
			if err != nil {
				return err
			}
		} // otherwise another exchange has taken the same entry first
	}
}

// tryInsertSession is insertSession with the entry that was drawn. It returns
// false if the entry is taken, or if created.unless finds a row; then the
// transaction must not commit.
func (s *Store) tryInsertSession(tx *gorm.DB, n *Session, created Event) (inserted bool, err error) {
	factors, err := json.Marshal(n.Factors)
	if err != nil {
		return false, err
	}
	attributes, err := marshalAttributes(n.Attributes)
	if err != nil {
		return false, err
	}
	decided, err := n.decision()
	if err != nil {
		return false, err
	}
	columns, places, args := insertList([]assignment{
		{"id", n.ID}, {"tenant_id", n.TenantID}, {"client_id", n.ClientID}, {"issuer_id", n.IssuerID}, {"subject", n.Subject},
		{"created_at", At(n.CreatedAt)}, {"auth_time", At(n.AuthTime)}, {"last_active_at", At(n.LastActiveAt)},
		{"absolute_expires_at", At(n.AbsoluteExpiry)}, {"idle_expires_at", At(n.IdleExpiry)},
		{"generation", n.Refresh.Generation}, {"refresh_digest", n.Refresh.Digest}, {"next_digest", n.Refresh.Next},
		{"root_version", n.Refresh.RootVersion},
		{"session_token_generation", n.SessionToken.Generation}, {"session_token_digest", n.SessionToken.Digest},
		{"session_token_next_digest", n.SessionToken.Next}, {"session_token_root_version", n.SessionToken.RootVersion},
		{"factors", string(factors)}, {"acr", n.StoredACR}, {"acr_times", decided}, {"session_attributes", attributes},
		{"scope", strings.Join(n.Scope, " ")}, {"audience", strings.Join(n.Audience, " ")},
		{"device_name", n.DeviceName}, {"user_agent", n.UserAgent}, {"ip", n.IP},
		{"prune_at", At(n.Lifetime().Expiry())}, {"status_index", n.Status.number()}, {"upstream_sid", textOrNull(n.UpstreamSID)},
	})
	return s.recordIf(tx, created, "INSERT INTO sessions ("+columns+") VALUES ("+places+")"+
		" ON CONFLICT (tenant_id, status_index) WHERE status_index IS NOT NULL DO NOTHING", args...)
}

// textOrNull returns NULL for an empty text.
func textOrNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// marshalAttributes rejects values that are too large to be read at every
// refresh.
func marshalAttributes(attributes map[string]any) (string, error) {
	if len(attributes) == 0 {
		return "{}", nil
	}
	fields := make(map[string]json.RawMessage, len(attributes))
	for name, value := range attributes {
		text, err := json.Marshal(value)
		if err != nil {
			return "", err
		}
		if len(text) > MaxAttribute {
			return "", fmt.Errorf("attribute %s: %w", name, ErrTooLarge)
		}
		fields[name] = text
	}
	text, err := json.Marshal(fields)
	return string(text), err
}
