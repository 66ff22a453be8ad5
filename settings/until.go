package settings

import (
	"errors"
	"time"
)

// Until is when something expires: a time (RFC 3339), or a duration after it was
// set.
type Until struct {
	at    time.Time
	after Duration
}

// ParseUntil parses an Until.
func ParseUntil(s string) (Until, error) {
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return Until{at: at.UTC()}, nil
	}
	after, err := ParseDuration(s)
	if err != nil || after < 0 {
		return Until{}, errors.New(`must be a time such as "2026-12-31T00:00:00Z", or a duration such as "7d"`)
	}
	return Until{after: after}, nil
}

// From returns the expiry of something that was set at set.
func (u Until) From(set time.Time) time.Time {
	if u.at.IsZero() {
		return set.Add(u.after.Std())
	}
	return u.at
}

// MarshalText implements encoding.TextMarshaler.
func (u Until) MarshalText() ([]byte, error) {
	if u.at.IsZero() {
		return u.after.MarshalText()
	}
	return []byte(u.at.Format(time.RFC3339)), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *Until) UnmarshalText(text []byte) (err error) {
	*u, err = ParseUntil(string(text))
	return err
}
