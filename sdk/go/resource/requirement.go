package resource

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Requirement is what a handler asks of the access token of a request, beyond its
// being valid: see [RequireScope], [RequireACR] and [MaxAge]. Of several all
// must be met; the last RequireACR and the shortest MaxAge count.
type Requirement func(*requirements)

// requirements are all of those of a handler.
type requirements struct {
	scopes []string
	acr    []string       // any of these; empty: none is asked for
	maxAge *time.Duration // nil: none is asked for
}

// RequireScope asks for every one of these scopes (RFC 6750 §3.1). It panics if
// one of them is no scope-token of RFC 6749 §3.3.
func RequireScope(scopes ...string) Requirement {
	for _, scope := range scopes {
		if !isScopeToken(scope) {
			panic("latchkey: not a scope: " + strconv.Quote(scope))
		}
	}
	return func(need *requirements) { need.scopes = append(need.scopes, scopes...) }
}

// RequireACR requires that the session has reached one of these authentication
// context classes, the preferred one first (RFC 9470 §3), however long ago.
// Classes are compared as strings: name every one that is good enough. With
// [MaxAge], one of them must have been proved in full within that time, by
// factors that are all young enough: a passkey of yesterday beside a password of
// this minute does not pass for a passkey of this minute. It panics if one of
// them cannot be put into a challenge, or if there is none.
func RequireACR(accepted ...string) Requirement {
	if len(accepted) == 0 {
		panic("latchkey: RequireACR without a class")
	}
	for _, acr := range accepted {
		if !isScopeToken(acr) {
			panic("latchkey: not an authentication context class: " + strconv.Quote(acr))
		}
	}
	return func(need *requirements) { need.acr = accepted }
}

// MaxAge requires that the user has proved who they are no longer ago than this:
// whole seconds, 0 or more (RFC 9470 §3). A refresh does not count. Without
// [RequireACR] any class will do, a password too; with it, the time is that of
// one of its classes. Where a trusted issuer does not state auth_time, the time is
// when its client token was issued. It panics for less than 0.
func MaxAge(age time.Duration) Requirement {
	if age < 0 {
		panic("latchkey: MaxAge below 0")
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

// lacksScope says whether a scope is missing.
func (need requirements) lacksScope(t *Token) bool {
	return slices.ContainsFunc(need.scopes, func(scope string) bool { return !t.HasScope(scope) })
}

// lacksAuthentication says whether the user has to prove more, or anew. A token
// that does not say how or when they did meets no such demand (RFC 9470 §6).
func (need requirements) lacksAuthentication(t *Token, now time.Time, tolerance time.Duration) bool {
	young := func(at time.Time) bool {
		if need.maxAge == nil {
			return true
		}
		age := now.Sub(at) // of an unknown time: centuries
		return age <= *need.maxAge+tolerance && age >= -tolerance
	}
	if need.acr == nil && young(t.AuthTime) || need.maxAge == nil && slices.Contains(need.acr, t.ACR) {
		return false
	}
	for class, at := range t.ACRTimes {
		if (need.acr == nil || slices.Contains(need.acr, class)) && young(at) {
			return false
		}
	}
	return true
}

// params are the parameters of a challenge that tell a client what to bring.
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
