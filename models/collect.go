package models

import (
	"database/sql"

	"gorm.io/gorm"
)

// collect returns all rows of a query, or an error. It checks rows.Err: if the
// connection breaks while rows are read, a loop without that check returns too
// few rows and no error.
func collect[T any](query *gorm.DB, scan func(rows *sql.Rows) (T, error)) ([]T, error) {
	rows, err := query.Rows()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return all, nil
}
