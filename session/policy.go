// Package session contains the rules of a session as pure functions: how long
// it lives, what a refresh token may do, which sessions are evicted, and which
// class a set of factors reaches. It has no access to a database, to HTTP or to
// a clock; time is a parameter.
package session

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Bounds of what a client may configure.
const (
	MinAccessTTL    = 30 * time.Second
	MaxAccessTTL    = 24 * time.Hour
	MaxRefreshGrace = time.Minute

	// Retention is how long the row of a session outlives its end. It is longer
	// than the lifetime of any access token of the session and of any copy of a
	// status list that shows it, so that nothing of it is reused too early.
	Retention = MaxAccessTTL + 10*time.Minute
)

// NoIdleTimeout turns off the inactivity limit of a session.
const NoIdleTimeout time.Duration = -1

// Policy determines how long the sessions of a client live and how their
// refresh tokens behave.
type Policy struct {
	AccessTTL       time.Duration // lifetime of an access token, 30 s – 24 h
	AbsoluteTimeout time.Duration // maximum lifetime of a session, however it is used; at least AccessTTL
	IdleTimeout     time.Duration // lifetime without activity; at least 2 × AccessTTL, or NoIdleTimeout
	RefreshGrace    time.Duration // retry window of a used refresh token, 0–60 s
	LateRetry       bool          // a used refresh token is answered even after the window, while its successor is unused
}

// Presets are the named policies. The empty name is the default. The names that
// begin with aal follow NIST SP 800-63B-4 §2.
var Presets = map[string]Policy{
	"":              {5 * time.Minute, 30 * day, 5 * day, 10 * time.Second, true},
	"consumer":      {time.Hour, 30 * day, 5 * day, 10 * time.Second, true},
	"high_security": {5 * time.Minute, day, 30 * time.Minute, 10 * time.Second, false},
	"mobile":        {time.Hour, 180 * day, NoIdleTimeout, time.Minute, true},
	"aal2":          {5 * time.Minute, day, time.Hour, 10 * time.Second, false},
	"aal3":          {5 * time.Minute, 12 * time.Hour, 15 * time.Minute, 10 * time.Second, false},
}

const day = 24 * time.Hour

// Validate returns an error that names every bound that p violates.
func (p Policy) Validate() error {
	var faults []error
	if p.AccessTTL < MinAccessTTL || p.AccessTTL > MaxAccessTTL {
		faults = append(faults, fmt.Errorf("access_token_ttl: must be %s to 24h", MinAccessTTL))
	}
	if p.AbsoluteTimeout < p.AccessTTL {
		faults = append(faults, errors.New("absolute_lifetime: must be at least access_token_ttl"))
	}
	if p.IdleTimeout != NoIdleTimeout && p.IdleTimeout < 2*p.AccessTTL {
		faults = append(faults, errors.New("inactivity_timeout: must be at least twice access_token_ttl, or none"))
	}
	if p.RefreshGrace < 0 || p.RefreshGrace > MaxRefreshGrace {
		faults = append(faults, fmt.Errorf("refresh_grace: must be 0s to %s", MaxRefreshGrace))
	}
	return errors.Join(faults...)
}

// IdleExpiry returns when a session that was last active at `at` ends because
// of inactivity. It is zero if p has no such limit.
func (p Policy) IdleExpiry(at time.Time) time.Time {
	if p.IdleTimeout == NoIdleTimeout {
		return time.Time{}
	}
	return at.Add(p.IdleTimeout)
}

// AccessExpiry returns when an access token that is minted now expires: after
// its lifetime, but not after the end that the session has if it is not used
// again.
func (p Policy) AccessExpiry(now, sessionExpiry time.Time) time.Time {
	exp := now.Add(p.AccessTTL)
	if sessionExpiry.Before(exp) {
		return sessionExpiry
	}
	return exp
}

// Active is a session that counts towards a user's limit.
type Active struct {
	ID           string
	CreatedAt    time.Time
	LastActiveAt time.Time
}

// Evict returns the sessions to end so that one more fits under limit: the
// oldest ones and, among sessions of the same age, those whose last use is
// longest ago.
func Evict(active []Active, limit int) []string {
	surplus := len(active) - limit + 1
	if limit <= 0 || surplus <= 0 {
		return nil
	}
	byAge := slices.Clone(active)
	slices.SortStableFunc(byAge, func(a, b Active) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), a.LastActiveAt.Compare(b.LastActiveAt))
	})
	ids := make([]string, 0, surplus)
	for _, s := range byAge[:surplus] {
		ids = append(ids, s.ID)
	}
	return ids
}
