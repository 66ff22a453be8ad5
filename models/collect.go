package models

import (
	"database/sql"

	"gorm.io/gorm"
)

// collect reads all rows of a query, or none: rows that break off with their
// connection look like fewer rows to whoever only closes them.
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
