package models

import (
	"database/sql/driver"
	"fmt"
	"time"
)

// Time is a time as the tables store it: microseconds since 1970 in a BIGINT,
// with NULL for the zero time. Both engines order and compare it alike, and it
// has no time zone.
type Time struct{ time.Time }

// At returns t, truncated to the precision of the tables.
func At(t time.Time) Time {
	if t.IsZero() {
		return Time{}
	}
	return Time{t.Truncate(time.Microsecond).UTC()}
}

// Value implements driver.Valuer.
func (t Time) Value() (driver.Value, error) {
	if t.IsZero() {
		return nil, nil
	}
	return t.UnixMicro(), nil
}

// Scan implements sql.Scanner.
func (t *Time) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*t = Time{}
	case int64:
		*t = Time{time.UnixMicro(v).UTC()}
	default:
		return fmt.Errorf("scan time: unexpected %T", src)
	}
	return nil
}

// GormDataType implements schema.GormDataTypeInterface.
func (Time) GormDataType() string { return "bigint" }
