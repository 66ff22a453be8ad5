package resource

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// Token is an access token that was valid when [Verifier.Verify] returned it.
// It may be shared with other callers: do not modify it.
type Token struct {
	Issuer    string // `iss`
	Subject   string // `sub`: together with Issuer it identifies the user, or the client if there is no user
	ClientID  string // `client_id`: the client that the token was issued to
	SessionID string // `sid`; empty: the token has no session (client credentials)
	ID        string // `jti`

	Audience []string // `aud`
	Scopes   []string // `scope`

	IssuedAt time.Time // `iat`
	Expiry   time.Time // `exp`
	AuthTime time.Time // `auth_time`: when ACR was last proved in full, or the user signed in; zero: unknown

	ACR string   // `acr`: the authentication context class; empty: unknown
	AMR []string // `amr`: the authentication methods (RFC 8176)

	// ACRTimes is `acr_times`: each authentication context class that the
	// session has reached, and the last time at which it was proved in full,
	// that is by factors that are all at least that recent.
	ACRTimes map[string]time.Time

	payload []byte
	*tokenState
}

// tokenState is what only the verifier needs.
type tokenState struct {
	notBefore       time.Time
	status          *statusReference // nil: the token has no `status`
	key             *wire.Key        // verified the token
	confirmedActive atomic.Int64     // when introspection was last asked and reported the token active, in nanoseconds of Unix time; 0: never
}

// statusReference locates the status of a token (Token Status List §6.1).
type statusReference struct {
	Index uint64 `json:"idx"`
	URI   string `json:"uri"`
}

// HasScope reports whether the token has a scope.
func (t *Token) HasScope(scope string) bool { return slices.Contains(t.Scopes, scope) }

// Claims decodes all claims of the token, including custom ones, into v, as
// [json.Unmarshal] does.
func (t *Token) Claims(v any) error { return json.Unmarshal(t.payload, v) }

// parseToken reads the claims of an access token (RFC 9068 §2.2).
func parseToken(payload []byte) (*Token, error) {
	var c map[string]json.RawMessage // exact names: a struct would accept "AUD" for "aud"
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, errors.New("malformed claims")
	}
	t := &Token{payload: payload, tokenState: &tokenState{}}
	var scope string
	var times map[string]numericDate
	fields := []struct {
		name     string
		to       any
		required bool
	}{
		{"iss", &t.Issuer, true}, {"sub", &t.Subject, true}, {"client_id", &t.ClientID, true}, {"jti", &t.ID, true},
		{"aud", (*audience)(&t.Audience), true}, {"exp", (*numericDate)(&t.Expiry), true}, {"iat", (*numericDate)(&t.IssuedAt), true},
		{"nbf", (*numericDate)(&t.notBefore), false}, {"auth_time", (*numericDate)(&t.AuthTime), false},
		{"sid", &t.SessionID, false}, {"scope", &scope, false}, {"acr", &t.ACR, false}, {"amr", &t.AMR, false},
		{"acr_times", &times, false},
	}
	for _, f := range fields {
		value, present := c[f.name]
		switch {
		case !present && !f.required:
		case !present:
			return nil, errors.New(f.name + " is missing")
		case string(value) == "null" || json.Unmarshal(value, f.to) != nil:
			return nil, errors.New(f.name + " is malformed")
		}
	}
	if t.Subject == "" || t.ClientID == "" || t.ID == "" {
		return nil, errors.New("sub, client_id or jti is empty")
	}
	t.ACRTimes = make(map[string]time.Time, len(times))
	for class, at := range times {
		t.ACRTimes[class] = time.Time(at)
	}
	t.Scopes = strings.FieldsFunc(scope, func(r rune) bool { return r == ' ' }) // only spaces separate (RFC 6749 §3.3)
	var err error
	t.status, err = parseStatusReference(c["status"])
	return t, err
}

func parseStatusReference(text json.RawMessage) (*statusReference, error) {
	if text == nil {
		return nil, nil
	}
	var status struct {
		List *struct {
			Index *uint64 `json:"idx"`
			URI   string  `json:"uri"`
		} `json:"status_list"`
	}
	if err := json.Unmarshal(text, &status); err != nil || status.List != nil && status.List.Index == nil {
		return nil, errors.New("status is malformed")
	}
	if status.List == nil {
		return nil, nil // a status mechanism that the package does not support
	}
	return &statusReference{*status.List.Index, status.List.URI}, nil
}

// audience is a string or a list of strings (RFC 7519 §4.1.3).
type audience []string

// UnmarshalJSON implements [json.Unmarshaler].
func (a *audience) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(a))
}

// numericDate is a number of seconds, possibly with a fraction (RFC 7519 §2).
type numericDate time.Time

// UnmarshalJSON implements [json.Unmarshaler].
func (d *numericDate) UnmarshalJSON(text []byte) error {
	var seconds float64
	if err := json.Unmarshal(text, &seconds); err != nil {
		return err
	}
	if seconds < 0 || seconds > 1<<40 {
		return errors.New("out of range")
	}
	whole, fraction := math.Modf(seconds)
	*d = numericDate(time.Unix(int64(whole), int64(fraction*1e9)))
	return nil
}
