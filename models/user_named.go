package models

import (
	"context"
	"database/sql"

	"gorm.io/gorm"
)

// NamedUsers returns the users that a file or an operator has named, with the
// attributes that those set, at most limit of them.
func (s *Store) NamedUsers(ctx context.Context, tenant string, limit int) ([]User, error) {
	var list []User
	err := s.longQuery(ctx, func(db *gorm.DB) (err error) {
		list, err = collect(db.Raw("SELECT sub, "+attributesAndSources+", disabled FROM users WHERE tenant_id = ? AND named_at IS NOT NULL ORDER BY sub LIMIT ?", tenant, limit), func(rows *sql.Rows) (User, error) {
			var sub, text string
			var disabled bool
			if err := rows.Scan(&sub, &text, &disabled); err != nil {
				return User{}, err
			}
			u, err := newUser(tenant, sub, text, disabled, false)
			if err != nil {
				return User{}, err
			}
			for name := range u.Attributes {
				if by := u.Sources[name]; by != sourceFile && by != sourceOperator {
					delete(u.Attributes, name)
				}
			}
			return *u, nil
		})
		return err
	})
	return list, err
}
