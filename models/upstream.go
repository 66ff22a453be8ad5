package models

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// The identity provider of a trusted issuer is "upstream": it has a sub for the
// user and may have a sid for its own session.

// Upstream is by which names a trusted issuer may later end what an exchange
// opens. It is recorded for entries that may revoke only.
type Upstream struct {
	Sub string // empty: the client token has none
	SID string // empty: it has none, or the entry does not use it
}

// names returns the digests of the names, in one order, for the locks.
func (u Upstream) names() [][]byte {
	var names [][]byte
	if u.Sub != "" {
		names = append(names, upstreamName("sub", u.Sub))
	}
	if u.SID != "" {
		names = append(names, upstreamName("sid", u.SID))
	}
	slices.SortFunc(names, bytes.Compare)
	return names
}

// upstreamName returns the digest by which a name is stored. Its length does not
// depend on the issuer.
func upstreamName(kind, name string) []byte {
	digest := sha256.Sum256([]byte(kind + " " + name))
	return digest[:]
}

// logoutMemory is how long a logout is remembered: no client token from before is
// accepted after that, whatever its entry's settings become.
const logoutMemory = settings.MaxTokenAge + settings.MaxLeeway + time.Minute

// lockUpstream locks the upstream names of an exchange, so that a logout that names
// one of them either is seen here or waits for the session. It returns the time of
// the last such logout.
func lockUpstream(tx *gorm.DB, about *Session, u *Upstream) (endedAt time.Time, err error) {
	if u == nil {
		return time.Time{}, nil
	}
	for _, name := range u.names() {
		var ended Time
		err := tx.Raw(`INSERT INTO upstream_logouts (tenant_id, issuer_id, digest, expires_at) VALUES (?, ?, ?, ?)
			ON CONFLICT (tenant_id, issuer_id, digest) DO UPDATE SET expires_at =
				CASE WHEN upstream_logouts.ended_at IS NULL THEN excluded.expires_at ELSE upstream_logouts.expires_at END
			RETURNING ended_at`, about.TenantID, about.IssuerID, name, At(about.CreatedAt.Add(time.Minute))).Row().Scan(&ended)
		if err != nil {
			return time.Time{}, err
		}
		if ended.After(endedAt) {
			endedAt = ended.Time
		}
	}
	return endedAt, nil
}

// storeUpstreamSubject records that a trusted issuer knows the user by a sub. The
// user's row exists.
func storeUpstreamSubject(tx *gorm.DB, about *Session, u *Upstream) error {
	if u == nil || u.Sub == "" {
		return nil
	}
	return tx.Exec("INSERT INTO upstream_subjects (tenant_id, issuer_id, upstream_digest, sub) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
		about.TenantID, about.IssuerID, upstreamName("sub", u.Sub), about.Subject).Error
}

// UpstreamTarget is what one trusted issuer wants to end: a session of its own, or
// everything of a user.
type UpstreamTarget struct {
	IssuerID    string   // row of the entry
	SID         string   // its own session
	UpstreamSub string   // the user by its sub
	Subs        []string // users by their sub here, who need not exist
	Attribute   string   // users by a searchable attribute
	Value       string
	// MayEnd reports whether the entry may end sessions of a user.
	MayEnd func(sub string) bool
}

// UpstreamCall is an authenticated request of a trusted issuer.
type UpstreamCall struct {
	Tenant  string
	Token   SpentToken // single use
	Targets []UpstreamTarget
	Actor   map[string]any // who made it, for the events
}

// at returns the time of a revocation: now, or the issuer's time if its clock is
// ahead, because the client tokens from before have times of that clock.
func (c *UpstreamCall) at(now time.Time) time.Time {
	if c.Token.IssuedAt.After(now) {
		return c.Token.IssuedAt
	}
	return now
}

// RevokeUsers signs out everywhere the users that the targets name: their sessions
// end, and client tokens from before are refused. ErrNotFound: there is no such user.
// ErrTokenSpent: the request was made before. After an error nothing has changed.
func (s *Store) RevokeUsers(ctx context.Context, c UpstreamCall) (ended int, err error) {
	err = s.longTransaction(ctx, func(tx *gorm.DB) error {
		ended = 0
		now := s.Now()
		users, err := s.beginUpstreamCall(tx, c, now)
		if err != nil {
			return err
		}
		found := false
		for _, sub := range users {
			switch _, err := s.lockUser(tx, c.Tenant, sub); {
			case errors.Is(err, ErrNotFound):
				continue
			case err != nil:
				return err
			}
			found = true
			if err := requireLaterSignIn(tx, c.Tenant, sub, c.at(now)); err != nil {
				return err
			}
			n, err := s.endUpstream(tx, c, now, "tenant_id = ? AND subject = ?", c.Tenant, sub)
			if err != nil {
				return err
			}
			ended += n
			err = insertEvent(tx, Event{At: s.Now(), TenantID: c.Tenant, Type: EventUserSignedOut, IssuerID: c.Targets[0].IssuerID, Subject: sub,
				Details: map[string]any{"actor": c.Actor, "sessions": n}})
			if err != nil {
				return err
			}
		}
		if !found {
			return ErrNotFound
		}
		return nil
	})
	return ended, err
}

// LogOut ends the sessions that the targets' entries opened: those of an upstream
// session, or those of a user. That there are none is no error. ErrTokenSpent: the
// request was made before.
func (s *Store) LogOut(ctx context.Context, c UpstreamCall) (ended int, err error) {
	err = s.longTransaction(ctx, func(tx *gorm.DB) error {
		ended = 0
		now := s.Now()
		users, err := s.beginUpstreamCall(tx, c, now)
		if err != nil {
			return err
		}
		for _, t := range c.Targets {
			n := 0
			if t.SID != "" {
				n, err = s.endUpstream(tx, c, now, "tenant_id = ? AND issuer_id = ? AND upstream_sid = ?", c.Tenant, t.IssuerID, t.SID)
			} else if len(users) > 0 {
				n, err = s.endUpstream(tx, c, now, "tenant_id = ? AND subject IN ? AND issuer_id = ?", c.Tenant, users, t.IssuerID)
			}
			if err != nil {
				return err
			}
			ended += n
		}
		return nil
	})
	return ended, err
}

// beginUpstreamCall spends the token, records the logout, which waits for exchanges
// that name the same session or user, and returns the users that the targets name.
func (s *Store) beginUpstreamCall(tx *gorm.DB, c UpstreamCall, now time.Time) (users []string, err error) {
	spent := tx.Exec("INSERT INTO spent_tokens (tenant_id, issuer, jti_digest, expires_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
		c.Tenant, c.Token.Issuer, c.Token.Digest, At(c.Token.ExpiresAt))
	if spent.Error != nil {
		return nil, spent.Error
	}
	if spent.RowsAffected == 0 {
		return nil, ErrTokenSpent
	}
	for _, t := range c.Targets {
		named := Upstream{Sub: t.UpstreamSub, SID: t.SID}
		if t.SID != "" {
			named.Sub = "" // only that session ends
		}
		for _, name := range named.names() {
			err := tx.Exec(`INSERT INTO upstream_logouts (tenant_id, issuer_id, digest, ended_at, expires_at) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (tenant_id, issuer_id, digest) DO UPDATE SET ended_at = excluded.ended_at, expires_at = excluded.expires_at`,
				c.Tenant, t.IssuerID, name, At(c.at(now)), At(c.at(now).Add(logoutMemory))).Error
			if err != nil {
				return nil, err
			}
		}
		found, err := usersOfTarget(tx, c.Tenant, t)
		if err != nil {
			return nil, err
		}
		users = append(users, found...)
	}
	slices.Sort(users) // in one order, for the locks
	return slices.Compact(users), nil
}

// usersOfTarget returns the users that a target may mean, who need not exist.
func usersOfTarget(tx *gorm.DB, tenant string, t UpstreamTarget) (users []string, err error) {
	users = slices.Clone(t.Subs)
	if t.UpstreamSub != "" {
		stored, err := collect(tx.Raw("SELECT sub FROM upstream_subjects WHERE tenant_id = ? AND issuer_id = ? AND upstream_digest = ?",
			tenant, t.IssuerID, upstreamName("sub", t.UpstreamSub)), scanText)
		if err != nil {
			return nil, err
		}
		users = append(users, stored...)
	}
	if t.Attribute != "" {
		if err := checkSearchable(tx, tenant, t.Attribute); err != nil {
			return nil, err
		}
		found, err := collect(tx.Raw("SELECT sub FROM user_attributes WHERE tenant_id = ? AND name = ? AND value_digest = ?",
			tenant, t.Attribute, digestOf(t.Value)), scanText)
		if err != nil {
			return nil, err
		}
		users = append(users, found...)
	}
	return slices.DeleteFunc(users, func(sub string) bool { return !t.MayEnd(sub) }), nil
}

func scanText(rows *sql.Rows) (text string, err error) {
	err = rows.Scan(&text)
	return text, err
}

// endUpstream ends live sessions in the transaction, each with its event.
func (s *Store) endUpstream(tx *gorm.DB, c UpstreamCall, now time.Time, where string, args ...any) (ended int, err error) {
	var open []openSession
	err = tx.Raw("SELECT id, tenant_id, client_id, issuer_id, subject FROM sessions WHERE "+where+` AND ended_at IS NULL
		AND absolute_expires_at > ? AND (idle_expires_at IS NULL OR idle_expires_at > ?) ORDER BY id`, append(args, At(now), At(now))...).Scan(&open).Error
	if err != nil {
		return 0, err
	}
	for _, row := range open {
		about := &Session{ID: row.ID, TenantID: row.TenantID, ClientID: row.ClientID, IssuerID: row.IssuerID, Subject: row.Subject}
		e, change := endEvent(about, s.Now(), session.RevokedByBackend)
		e.Details["actor"] = c.Actor
		found, err := s.recordIf(tx, e, endSession, change...)
		if err != nil {
			return 0, err
		}
		if found {
			ended++
		}
	}
	return ended, nil
}
