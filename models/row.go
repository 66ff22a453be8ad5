package models

import (
	"reflect"
	"strings"

	"gorm.io/gorm"
)

// columnsOf returns the columns of a row struct, in the order of its fields. Every
// field has a column tag.
func columnsOf[Row any]() []string {
	fields := reflect.VisibleFields(reflect.TypeFor[Row]())
	columns := make([]string, len(fields))
	for i, f := range fields {
		columns[i] = strings.TrimPrefix(f.Tag.Get("gorm"), "column:")
	}
	return columns
}

// destinations returns where to scan columnsOf a row. GORM's Scan finds the fields
// by name instead, and costs about as much again as reading a row.
func destinations[Row any](row *Row) []any {
	fields := reflect.ValueOf(row).Elem()
	into := make([]any, fields.NumField())
	for i := range into {
		into[i] = fields.Field(i).Addr().Interface()
	}
	return into
}

// scanOne reads the only row of a query into a struct, by column names. It returns
// ErrNotFound if there is none.
func scanOne(query *gorm.DB, row any) error {
	done := query.Scan(row)
	if done.Error == nil && done.RowsAffected == 0 {
		return ErrNotFound
	}
	return done.Error
}

// selected is one expression of a SELECT, with its arguments and where to scan it.
type selected struct {
	expression string
	into       any
	args       []any
}

// selectList returns the expressions, their arguments and their destinations.
func selectList(list ...selected) (expressions string, args, into []any) {
	texts := make([]string, len(list))
	for i, s := range list {
		texts[i] = s.expression
		args = append(args, s.args...)
		into = append(into, s.into)
	}
	return strings.Join(texts, ", "), args, into
}

// assignment is a column that a statement writes, with its value.
type assignment struct {
	column string
	value  any
}

// insertList returns the columns and the VALUES of an INSERT.
func insertList(list []assignment) (columns, places string, args []any) {
	names := make([]string, len(list))
	args = make([]any, len(list))
	for i, a := range list {
		names[i], args[i] = a.column, a.value
	}
	return strings.Join(names, ", "), strings.TrimSuffix(strings.Repeat("?, ", len(list)), ", "), args
}

// setList returns the SET clause of an UPDATE.
func setList(list []assignment) (set string, args []any) {
	changes := make([]string, len(list))
	args = make([]any, len(list))
	for i, a := range list {
		changes[i], args[i] = a.column+" = ?", a.value
	}
	return strings.Join(changes, ", "), args
}
