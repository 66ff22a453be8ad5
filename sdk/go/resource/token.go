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

// Token is an access token that was good when [Verifier.Verify] returned it. It
// may be shared with other callers and must not be changed.
type Token struct {
	Issuer    string // `iss`
	Subject   string // `sub`: with Issuer it names the user, or the client if there is none
	ClientID  string // `client_id`: whom the token was issued to
	SessionID string // `sid`; empty: the token has no session (client credentials)
	ID        string // `jti`

	Audience []string // `aud`
	Scopes   []string // `scope`

	IssuedAt time.Time // `iat`
	Expiry   time.Time // `exp`
	AuthTime time.Time // `auth_time`: when ACR was last proved in full, or the user signed in; zero: unknown

	ACR string   // `acr`: how sure that is; empty: unknown
	AMR []string // `amr`: by which means (RFC 8176)

	// ACRTimes is `acr_times`: every authentication context class that the session
	// has reached, and when it was last proved in full, by factors that are all no
	// older than that.
	ACRTimes map[string]time.Time

	payload []byte
	*tokenState
}

// tokenState is what only the verifier needs of a token.
type tokenState struct {
	notBefore       time.Time
	status          *statusReference // nil: the token has no `status`
	key             *wire.Key        // that verified it
	confirmedActive atomic.Int64     // when the issuer last said so, in nanoseconds of Unix time; 0: it was not asked
}

// statusReference is where a token's status is (Token Status List §6.1).
type statusReference struct {
	Index uint64 `json:"idx"`
	URI   string `json:"uri"`
}

// HasScope says whether the token was granted a scope.
func (t *Token) HasScope(scope string) bool { return slices.Contains(t.Scopes, scope) }

// Claims decodes every claim of the token, custom ones included, into `to`, as
// [json.Unmarshal] does.
func (t *Token) Claims(to any) error { return json.Unmarshal(t.payload, to) }

// parseToken reads the claims of an access token (RFC 9068 §2.2).
func parseToken(payload []byte) (*Token, error) {
	var c map[string]json.RawMessage // exact names: a struct would take "AUD" for "aud"
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, errors.New("the claims are malformed")
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
			return nil, errors.New("the claim " + f.name + " is missing")
		case string(value) == "null" || json.Unmarshal(value, f.to) != nil:
			return nil, errors.New("the claim " + f.name + " is malformed")
		}
	}
	if t.Subject == "" || t.ClientID == "" || t.ID == "" {
		return nil, errors.New("a claim that names something is empty")
	}
	t.ACRTimes = make(map[string]time.Time, len(times))
	for class, at := range times {
		t.ACRTimes[class] = time.Time(at)
	}
	t.Scopes = strings.FieldsFunc(scope, func(r rune) bool { return r == ' ' }) // and at no other space (RFC 6749 §3.3)
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
		return nil, errors.New("the claim status is malformed")
	}
	if status.List == nil {
		return nil, nil // another mechanism, which the package does not know
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

// numericDate is a number of seconds, which may have a fraction (RFC 7519 §2).
type numericDate time.Time

// UnmarshalJSON implements [json.Unmarshaler].
func (d *numericDate) UnmarshalJSON(text []byte) error {
	var seconds float64
	if err := json.Unmarshal(text, &seconds); err != nil {
		return err
	}
	if seconds < 0 || seconds > 1<<40 {
		return errors.New("not a moment")
	}
	whole, fraction := math.Modf(seconds)
	*d = numericDate(time.Unix(int64(whole), int64(fraction*1e9)))
	return nil
}
