package latchkey

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Demand is what a handler asks of the access token of a request, beyond its
// being valid: see [RequireScope], [RequireACR] and [MaxAge]. Of several all
// must be met; the last RequireACR and the shortest MaxAge count.
type Demand func(*demands)

// demands are all of those of a handler.
type demands struct {
	scopes []string
	acr    []string       // any of these; empty: none is asked for
	maxAge *time.Duration // nil: none is asked for
}

// RequireScope asks for every one of these scopes (RFC 6750 §3.1). It panics if
// one of them is no scope-token of RFC 6749 §3.3.
func RequireScope(scopes ...string) Demand {
	for _, scope := range scopes {
		if !isQuotable(scope) || strings.Contains(scope, " ") || scope == "" {
			panic("latchkey: not a scope: " + strconv.Quote(scope))
		}
	}
	return func(d *demands) { d.scopes = append(d.scopes, scopes...) }
}

// RequireACR asks for one of these authentication context classes, the
// preferred one first (RFC 9470 §3). Classes are compared as strings: name every
// one that is good enough. It panics if one of them cannot be put into a
// challenge, or if there is none.
func RequireACR(accepted ...string) Demand {
	if len(accepted) == 0 {
		panic("latchkey: RequireACR without a class")
	}
	for _, acr := range accepted {
		if !isQuotable(acr) || strings.Contains(acr, " ") || acr == "" {
			panic("latchkey: not an authentication context class: " + strconv.Quote(acr))
		}
	}
	return func(d *demands) { d.acr = accepted }
}

// MaxAge asks that the user has proved who they are, with any factor, no longer
// ago than this: whole seconds, 0 or more (RFC 9470 §3). A refresh does not
// count. It panics for less than 0.
func MaxAge(age time.Duration) Demand {
	if age < 0 {
		panic("latchkey: MaxAge below 0")
	}
	age = age.Truncate(time.Second)
	return func(d *demands) {
		if d.maxAge == nil || age < *d.maxAge {
			d.maxAge = &age
		}
	}
}

func gather(list []Demand) demands {
	var d demands
	for _, add := range list {
		add(&d)
	}
	return d
}

// lackScope says whether a scope is missing.
func (d demands) lackScope(t *Token) bool {
	return slices.ContainsFunc(d.scopes, func(scope string) bool { return !slices.Contains(t.Scopes, scope) })
}

// lackAuthentication says whether the user has to prove more, or anew. A token
// that does not say how or when they did meets no such demand (RFC 9470 §6).
func (d demands) lackAuthentication(t *Token, now time.Time, tolerance time.Duration) bool {
	if d.acr != nil && !slices.Contains(d.acr, t.ACR) {
		return true
	}
	return d.maxAge != nil && now.Sub(t.AuthTime) > *d.maxAge+tolerance // an unknown time is centuries ago
}

// params are the parameters of a challenge that tell a client what to bring.
func (d demands) params() []param {
	var list []param
	if d.acr != nil {
		list = append(list, param{"acr_values", strings.Join(d.acr, " ")})
	}
	if d.maxAge != nil {
		list = append(list, param{"max_age", strconv.FormatInt(int64(*d.maxAge/time.Second), 10)})
	}
	if len(d.scopes) > 0 {
		list = append(list, param{"scope", strings.Join(d.scopes, " ")})
	}
	return list
}
