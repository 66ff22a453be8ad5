package latchkey

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Tokens are the tokens of a session at one moment. They are secrets: printing,
// logging and encoding/json omit them. [Tokens.Serialize] includes them.
type Tokens struct {
	SessionID     string    `json:"session_id"`
	SessionExpiry time.Time `json:"session_expiry"` // latest end of the session
	Scope         string    `json:"scope"`          // of the access token, space-separated
	AccessToken   string    `json:"-"`
	Expiry        time.Time `json:"expiry"`     // of the access token
	RefreshToken  string    `json:"-"`          // empty: the client gets none
	SessionToken  string    `json:"-"`          // empty: the client gets none
	Generation    int64     `json:"generation"` // grows with every refresh and step-up: the higher of two is newer

	// Pending is a step-up without a response yet; nil: none. Store it with the
	// tokens, because the server may have replaced the refresh token already.
	Pending *PendingStepUp `json:"-"`
}

// serialized is the form that Serialize writes.
type serialized struct {
	SessionID     string    `json:"session_id"`
	SessionExpiry time.Time `json:"session_expiry"`
	Scope         string    `json:"scope"`
	AccessToken   string    `json:"access_token"`
	Expiry        time.Time `json:"expiry"`
	RefreshToken  string    `json:"refresh_token,omitempty"`
	SessionToken  string    `json:"session_token,omitempty"`
	Generation    int64     `json:"generation,omitempty"`

	Pending *serializedStepUp `json:"pending_step_up,omitempty"`
}

// Serialize encodes the tokens as JSON, including the secrets, for a [Store]
// that nobody else can read.
func (t Tokens) Serialize() []byte {
	text, _ := json.Marshal(serialized{ // strings, numbers and times: it cannot fail
		t.SessionID, t.SessionExpiry, t.Scope, t.AccessToken, t.Expiry, t.RefreshToken, t.SessionToken, t.Generation, t.Pending.serialized(),
	})
	return text
}

// ParseTokens decodes the result of [Tokens.Serialize].
func ParseTokens(text []byte) (Tokens, error) {
	var s serialized
	if err := json.Unmarshal(text, &s); err != nil {
		return Tokens{}, fmt.Errorf("latchkey: parse tokens: %w", err)
	}
	if s.SessionID == "" {
		return Tokens{}, errors.New("latchkey: parse tokens: session_id is missing")
	}
	return Tokens{
		s.SessionID, s.SessionExpiry, s.Scope, s.AccessToken, s.Expiry, s.RefreshToken, s.SessionToken, s.Generation, s.Pending.pending(),
	}, nil
}

// String identifies the session without revealing secrets.
func (t Tokens) String() string { return "session " + t.SessionID }

// Format writes String, for any verb.
func (t Tokens) Format(f fmt.State, _ rune) { io.WriteString(f, t.String()) }

// LogValue implements slog.LogValuer.
func (t Tokens) LogValue() slog.Value {
	return slog.GroupValue(slog.String("session_id", t.SessionID), slog.Time("expiry", t.Expiry), slog.Time("session_expiry", t.SessionExpiry))
}

// fillFrom adds the refresh and session token of earlier tokens where the
// response had none.
func (t Tokens) fillFrom(before Tokens) Tokens {
	if t.RefreshToken == "" {
		t.RefreshToken = before.RefreshToken
	}
	if t.SessionToken == "" {
		t.SessionToken = before.SessionToken
	}
	return t
}

// newerThan reports whether the server issued t after other. Responses of the
// same generation have the same refresh and session token; of these the one
// with the later auth_time is newer.
func (t Tokens) newerThan(other Tokens) bool {
	if t.Generation != other.Generation {
		return t.Generation > other.Generation
	}
	return authTime(t.AccessToken) > authTime(other.AccessToken)
}

func (t Tokens) sameSessionCredentials(other Tokens) bool {
	return t.RefreshToken == other.RefreshToken && t.SessionToken == other.SessionToken
}

// longestLived returns the token that identifies the session for longest.
func (t Tokens) longestLived() string {
	switch {
	case t.RefreshToken != "":
		return t.RefreshToken
	case t.SessionToken != "":
		return t.SessionToken
	}
	return t.AccessToken
}
