package resource

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Requirement is what a handler requires of a valid access token: see
// [RequireScope], [RequireACR] and [MaxAge]. All requirements must be met. Of
// several RequireACR the last one applies, of several MaxAge the shortest.
type Requirement func(*requirements)

// requirements are the requirements of one handler, combined.
type requirements struct {
	scopes []string
	acr    []string       // any of these; nil: no class is required
	maxAge *time.Duration // nil: no age is required
}

// RequireScope requires all of these scopes (RFC 6750 §3.1). It panics if a
// scope is not a scope-token (RFC 6749 §3.3).
func RequireScope(scopes ...string) Requirement {
	for _, scope := range scopes {
		if !isScopeToken(scope) {
			panic("resource: RequireScope: invalid scope " + strconv.Quote(scope))
		}
	}
	return func(need *requirements) { need.scopes = append(need.scopes, scopes...) }
}

// RequireACR requires that the session has reached one of these authentication
// context classes, however long ago. List the preferred class first (RFC 9470
// §3). Classes are compared as strings: list every class that is strong enough.
//
// With [MaxAge], one of the classes must have been proved in full within that
// time: all of its factors are recent enough. A passkey used yesterday and a
// password entered now do not count as a passkey used now.
//
// It panics without a class, and for a class that cannot be part of a
// challenge.
func RequireACR(accepted ...string) Requirement {
	if len(accepted) == 0 {
		panic("resource: RequireACR: at least one class is required")
	}
	for _, acr := range accepted {
		if !isScopeToken(acr) {
			panic("resource: RequireACR: invalid class " + strconv.Quote(acr))
		}
	}
	return func(need *requirements) { need.acr = accepted }
}

// MaxAge requires that the user authenticated at most this long ago, in whole
// seconds (RFC 9470 §3). A refresh does not count as authentication. Without
// [RequireACR] any class is accepted, even a password alone; with it, the time
// is that of one of its classes. If a trusted issuer sends no auth_time, the
// time is when its client token was issued.
//
// It panics for a negative age.
func MaxAge(age time.Duration) Requirement {
	if age < 0 {
		panic("resource: MaxAge: the age must not be negative")
	}
	age = age.Truncate(time.Second)
	return func(need *requirements) {
		if need.maxAge == nil || age < *need.maxAge {
			need.maxAge = &age
		}
	}
}

func combine(list []Requirement) requirements {
	var need requirements
	for _, add := range list {
		add(&need)
	}
	return need
}

// lacksScope reports whether the token lacks a required scope.
func (need requirements) lacksScope(t *Token) bool {
	return slices.ContainsFunc(need.scopes, func(scope string) bool { return !t.HasScope(scope) })
}

// lacksAuthentication reports whether the user has to re-authenticate or use
// another factor. A token that does not contain the class or the time does not
// meet a requirement on it (RFC 9470 §6).
func (need requirements) lacksAuthentication(t *Token, now time.Time, tolerance time.Duration) bool {
	recent := func(at time.Time) bool {
		if need.maxAge == nil {
			return true
		}
		age := now.Sub(at) // centuries, if the time is unknown
		return age <= *need.maxAge+tolerance && age >= -tolerance
	}
	if need.acr == nil && recent(t.AuthTime) || need.maxAge == nil && slices.Contains(need.acr, t.ACR) {
		return false
	}
	for class, at := range t.ACRTimes {
		if (need.acr == nil || slices.Contains(need.acr, class)) && recent(at) {
			return false
		}
	}
	return true
}

// params returns the parameters of a challenge that state the requirements.
func (need requirements) params() []param {
	var list []param
	if need.acr != nil {
		list = append(list, param{"acr_values", strings.Join(need.acr, " ")})
	}
	if need.maxAge != nil {
		list = append(list, param{"max_age", strconv.FormatInt(int64(*need.maxAge/time.Second), 10)})
	}
	if len(need.scopes) > 0 {
		list = append(list, param{"scope", strings.Join(need.scopes, " ")})
	}
	return list
}
