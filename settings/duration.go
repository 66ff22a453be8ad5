package settings

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/session"
)

// Duration is a length of time in a configuration: Go's notation, a number of days
// ("30d", also before other units: "1d12h"), or "none" where no limit is allowed.
type Duration time.Duration

// ParseDuration parses a Duration.
func ParseDuration(s string) (Duration, error) {
	if s == "none" {
		return Duration(session.NoIdleTimeout), nil
	}
	var days time.Duration
	if n, rest, ok := strings.Cut(s, "d"); ok {
		count, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return 0, errDuration
		}
		days = time.Duration(count) * 24 * time.Hour
		if s = rest; s == "" {
			return Duration(days), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > 1<<62-days {
		return 0, errDuration
	}
	return Duration(days + d), nil
}

var errDuration = errors.New(`must be a duration such as "90s", "5m", "720h" or "30d"`)

// Std returns d as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String formats d without zero units, and whole days as days.
func (d Duration) String() string {
	switch t := time.Duration(d); {
	case t == session.NoIdleTimeout:
		return "none"
	case t >= 24*time.Hour && t%(24*time.Hour) == 0:
		return strconv.FormatInt(int64(t/(24*time.Hour)), 10) + "d"
	default:
		s := t.String()
		if strings.HasSuffix(s, "m0s") {
			s = strings.TrimSuffix(s, "0s")
		}
		if strings.HasSuffix(s, "h0m") {
			s = strings.TrimSuffix(s, "0m")
		}
		return s
	}
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}

// Value implements driver.Valuer: microseconds, and 0 for "none".
func (d Duration) Value() (driver.Value, error) { return max(d.Std(), 0).Microseconds(), nil }

// Scan implements sql.Scanner.
func (d *Duration) Scan(src any) error {
	v, ok := src.(int64)
	if !ok {
		return fmt.Errorf("scan duration: unexpected %T", src)
	}
	if *d = Duration(time.Duration(v) * time.Microsecond); v == 0 {
		*d = Duration(session.NoIdleTimeout)
	}
	return nil
}

// GormDataType implements schema.GormDataTypeInterface.
func (Duration) GormDataType() string { return "bigint" }
