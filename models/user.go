package models

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"time"

	"gorm.io/gorm"
)

// User is an end user of a tenant, the subject of its sessions, with the
// attributes that are stored about them.
type User struct {
	TenantID   string
	Sub        string
	Attributes map[string]any
	Sources    map[string]string // who set each attribute
	Disabled   bool
	Suspended  bool

	AuthenticatedAfter time.Time // client tokens that were issued up to that second are refused

	SeenAt time.Time // last sign-in or end of a session, up to seenLag earlier
	Named  bool      // a file or an operator has named the user
	At     time.Time // time of the change that writes it

	text string // of attributes and sources, as it was read
}

func newUser(tenant, sub, attributes string, disabled, suspended bool) (*User, error) {
	parsed, err := parseUserAttributes(attributes)
	return &User{
		TenantID: tenant, Sub: sub, Attributes: parsed.Values, Sources: parsed.Sources,
		Disabled: disabled, Suspended: suspended, text: attributes,
	}, err
}

// attributes returns the user's attributes and their sources.
func (u *User) attributes() UserAttributes { return UserAttributes{u.Attributes, u.Sources} }

// After returns the user's attributes after a sign-in. u may be nil if there is
// no such user yet.
func (u *User) After(m Mapped) (after UserAttributes, removed []string) {
	if u == nil {
		return UserAttributes{}.After(m)
	}
	return u.attributes().After(m)
}

// User reads a user.
func (s *Store) User(ctx context.Context, tenant, sub string) (*User, error) {
	var u *User
	err := s.query(ctx, func(db *gorm.DB) (err error) {
		u, err = scanUser(db, tenant, sub, "")
		return err
	})
	return u, err
}

// lockUser reads a user and locks the row.
func (s *Store) lockUser(tx *gorm.DB, tenant, sub string) (*User, error) {
	return scanUser(tx, tenant, sub, s.dialect.forUpdate)
}

func scanUser(db *gorm.DB, tenant, sub, lock string) (*User, error) {
	var row struct {
		Stored                     string
		Disabled, Suspended, Named bool
		SeenAt, AuthenticatedAfter Time
	}
	err := scanOne(db.Raw("SELECT "+attributesAndSources+" AS stored, disabled, suspended_at IS NOT NULL AS suspended, named_at IS NOT NULL AS named, seen_at, authenticated_after FROM users WHERE tenant_id = ? AND sub = ?"+lock,
		tenant, sub), &row)
	if err != nil {
		return nil, err
	}
	u, err := newUser(tenant, sub, row.Stored, row.Disabled, row.Suspended)
	u.SeenAt, u.Named, u.AuthenticatedAfter = row.SeenAt.Time, row.Named, row.AuthenticatedAfter.Time
	return u, err
}

// createUser creates a user, whose row is then locked. Of two concurrent calls,
// the second returns what the first has created.
func (s *Store) createUser(tx *gorm.DB, u User) (stored *User, made bool, err error) {
	attributes, sources, err := u.attributes().text()
	if err != nil {
		return nil, false, err
	}
	at := At(u.At)
	var searchable sql.NullString
	err = tx.Raw(`INSERT INTO users (tenant_id, sub, attributes, attribute_sources, disabled, created_at, updated_at, seen_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`+returningSearchable,
		u.TenantID, u.Sub, attributes, sources, u.Disabled, at, at, at, u.TenantID).Row().Scan(&searchable)
	if errors.Is(err, sql.ErrNoRows) {
		stored, err = s.lockUser(tx, u.TenantID, u.Sub)
		return stored, false, err
	}
	if err != nil {
		return &u, false, err
	}
	return &u, true, writeSearchable(tx, &u, searchable)
}

// normalizeAttributes returns attributes as they are when they are read back.
func normalizeAttributes(attributes map[string]any) (stored map[string]any, err error) {
	text, err := marshalAttributes(attributes)
	if err != nil {
		return nil, err
	}
	err = unmarshalObject(text, &stored)
	return stored, err
}

// updateUser writes a user whose row is locked.
func updateUser(db *gorm.DB, u *User) error {
	attributes, sources, err := u.attributes().text()
	if err != nil {
		return err
	}
	var searchable sql.NullString
	err = db.Raw("UPDATE users SET attributes = ?, attribute_sources = ?, disabled = ?, updated_at = ? WHERE tenant_id = ? AND sub = ?"+returningSearchable,
		attributes, sources, u.Disabled, At(u.At), u.TenantID, u.Sub, u.TenantID).Row().Scan(&searchable)
	if err != nil {
		return err
	}
	return writeSearchable(db, u, searchable)
}

// Overlay returns stored with the attributes of mapped set. What mapped does
// not name stays.
func Overlay(stored, mapped map[string]any) map[string]any {
	if len(mapped) == 0 {
		return stored
	}
	merged := map[string]any{}
	maps.Copy(merged, stored)
	maps.Copy(merged, mapped)
	return merged
}
