package models

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
)

// The searchable attributes of users are also in the table user_attributes, as
// digests of their values. Every statement that writes the attributes of a user
// returns the searchable names of the tenant, and the same transaction writes the
// rows of the side table. Housekeeping writes those of stored users when the list of
// names changes.

const (
	// searchPause is how long after a change of the list the rows of stored users are
	// written: a transaction that read the list before has committed by then.
	searchPause = LateCommit
	searchChunk = 200 // users of one transaction, whose rows are locked
	// searchChunks limits the chunks of one call.
	searchChunks = 500
)

// AttributeMatch selects the users with an attribute of a value: a string, or a
// number or boolean as JSON. Lists and objects are not searchable.
type AttributeMatch struct{ Name, Value string }

// ErrNotSearchable is the error of searching for an attribute that is not one of the
// searchable attributes of the tenant, and ErrIndexing that of searching for one that
// has been added to them recently.
var (
	ErrNotSearchable = errors.New("the attribute is not searchable")
	ErrIndexing      = errors.New("the attribute is not searchable yet")
)

// returningSearchable is a RETURNING clause: the searchable names as JSON, or NULL.
// Its argument is the tenant.
const returningSearchable = " RETURNING (SELECT searchable_attributes FROM tenants WHERE id = ?)"

// searchDigest returns the digest by which a value is found, or nil if nothing finds
// it. The digest bounds the size of an index entry.
func searchDigest(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil || len(text) == 0 {
		return nil
	}
	found := string(text)
	switch text[0] {
	case '{', '[', 'n':
		return nil
	case '"':
		if json.Unmarshal(text, &found) != nil {
			return nil
		}
	}
	return digestOf(found)
}

func digestOf(value string) []byte {
	sum := sha256.Sum256([]byte(value))
	return sum[:]
}

// searchRow is a row of user_attributes.
type searchRow struct {
	sub, name string
	digest    []byte
}

func searchRows(sub string, names []string, values map[string]any) (rows []searchRow) {
	for _, name := range names {
		if digest := searchDigest(values[name]); digest != nil {
			rows = append(rows, searchRow{sub, name, digest})
		}
	}
	return rows
}

// writeSearchable replaces the side rows of a user whose row is locked. searchable is
// what returningSearchable returned.
func writeSearchable(tx *gorm.DB, u *User, searchable sql.NullString) error {
	names, err := parseNames(searchable)
	if err != nil || len(names) == 0 {
		return err
	}
	if err := tx.Exec("DELETE FROM user_attributes WHERE tenant_id = ? AND sub = ?", u.TenantID, u.Sub).Error; err != nil {
		return err
	}
	return insertSearchRows(tx, u.TenantID, searchRows(u.Sub, names, u.Attributes))
}

func insertSearchRows(tx *gorm.DB, tenant string, rows []searchRow) error {
	for chunk := range slices.Chunk(rows, pruneBatch) {
		var args []any
		for _, r := range chunk {
			args = append(args, tenant, r.sub, r.name, r.digest)
		}
		err := tx.Exec("INSERT INTO user_attributes (tenant_id, sub, name, value_digest) VALUES "+
			strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?), ", len(chunk)), ", "), args...).Error
		if err != nil {
			return err
		}
	}
	return nil
}

func parseNames(text sql.NullString) (names []string, err error) {
	if text.Valid {
		err = json.Unmarshal([]byte(text.String), &names)
	}
	return names, err
}

// changeSearchable records that the list of a stored tenant has changed. Until
// housekeeping has written the rows of its users, only names that were on the list
// before can be searched for.
func (a *applier) changeSearchable(tenant string, created bool, names []string) error {
	if created { // users who are created with it get their rows at once
		text, err := json.Marshal(names)
		if err != nil {
			return err
		}
		return a.tx.Exec("UPDATE tenants SET searchable_ready = ? WHERE id = ?", string(text), tenant).Error
	}
	ready, err := readySearchable(a.tx, tenant)
	if err != nil {
		return err
	}
	ready = slices.DeleteFunc(ready, func(name string) bool { return !slices.Contains(names, name) })
	text, err := json.Marshal(ready)
	if err != nil {
		return err
	}
	return a.tx.Exec("UPDATE tenants SET searchable_ready = ?, searchable_since = ?, searchable_after = '' WHERE id = ?", string(text), At(a.now), tenant).Error
}

// readySearchable returns the names that can be searched for.
func readySearchable(db *gorm.DB, tenant string) ([]string, error) {
	var text sql.NullString
	err := db.Raw("SELECT searchable_ready FROM tenants WHERE id = ? AND pruned_at IS NULL", tenant).Row().Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return parseNames(text)
}

// checkSearchable returns an error unless the attribute can be searched for.
func checkSearchable(db *gorm.DB, tenant, name string) error {
	ready, err := readySearchable(db, tenant)
	if err != nil || slices.Contains(ready, name) {
		return err
	}
	var listed sql.NullString
	if err := db.Raw("SELECT searchable_attributes FROM tenants WHERE id = ?", tenant).Row().Scan(&listed); err != nil {
		return err
	}
	names, err := parseNames(listed)
	switch {
	case err != nil:
		return err
	case slices.Contains(names, name):
		return ErrIndexing
	default:
		return ErrNotSearchable
	}
}

// IndexAttributes writes the side rows of the users of every tenant whose list of
// searchable attributes has changed, chunk by chunk, with a limited number of chunks
// in one call.
func (s *Store) IndexAttributes(ctx context.Context) error {
	var tenants []string
	err := s.query(ctx, func(db *gorm.DB) error {
		return db.Raw("SELECT id FROM tenants WHERE searchable_since <= ? AND pruned_at IS NULL ORDER BY id", At(s.Now().Add(-searchPause))).Scan(&tenants).Error
	})
	if err != nil {
		return err
	}
	chunks := 0
	for _, tenant := range tenants {
		for more := true; more; chunks++ {
			if chunks == searchChunks {
				return nil
			}
			if more, err = s.indexChunk(ctx, tenant); err != nil {
				return err
			}
		}
	}
	return nil
}

// indexChunk writes the rows of the next users of a tenant. It locks the tenant before
// the users, as every change by an operator does.
func (s *Store) indexChunk(ctx context.Context, tenant string) (more bool, err error) {
	err = s.transaction(ctx, func(tx *gorm.DB) error {
		more = false
		row, _, err := lockExistingTenant(tx, tenant, time.Time{})
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		var since Time
		var after sql.NullString
		if err := tx.Raw("SELECT searchable_since, searchable_after FROM tenants WHERE id = ?", tenant).Row().Scan(&since, &after); err != nil {
			return err
		}
		if since.IsZero() || since.After(s.Now().Add(-searchPause)) { // it has changed again meanwhile
			return nil
		}
		users, err := collect(tx.Raw("SELECT sub, "+attributesAndSources+" FROM users WHERE tenant_id = ? AND sub"+s.dialect.bytewise+" > ? ORDER BY sub"+s.dialect.bytewise+" LIMIT ?"+s.dialect.forUpdate,
			tenant, after.String, searchChunk), func(rows *sql.Rows) (*User, error) {
			var sub, text string
			if err := rows.Scan(&sub, &text); err != nil {
				return nil, err
			}
			return newUser(tenant, sub, text, false, false)
		})
		if err != nil {
			return err
		}
		if err := rewriteSearchable(tx, tenant, users, row.SearchableAttributes); err != nil {
			return err
		}
		if more = len(users) == searchChunk; more {
			return tx.Exec("UPDATE tenants SET searchable_after = ? WHERE id = ?", users[len(users)-1].Sub, tenant).Error
		}
		return tx.Exec("UPDATE tenants SET searchable_ready = searchable_attributes, searchable_since = NULL, searchable_after = NULL WHERE id = ?", tenant).Error
	})
	return more, err
}

func rewriteSearchable(tx *gorm.DB, tenant string, users []*User, names []string) error {
	if len(users) == 0 {
		return nil
	}
	subs, rows := make([]string, len(users)), []searchRow{}
	for i, u := range users {
		subs[i] = u.Sub
		rows = append(rows, searchRows(u.Sub, names, u.Attributes)...)
	}
	if err := tx.Exec("DELETE FROM user_attributes WHERE tenant_id = ? AND sub IN ?", tenant, subs).Error; err != nil {
		return err
	}
	return insertSearchRows(tx, tenant, rows)
}

// sameNames reports whether two lists have the same names.
func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
