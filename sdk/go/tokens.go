package latchkey

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Tokens are those of a session at one moment. They are secrets: printing,
// logging and encoding/json show what is not. [Tokens.Serialize] is the way out.
type Tokens struct {
	SessionID     string    `json:"session_id"`
	SessionExpiry time.Time `json:"session_expiry"` // the session ends then at the latest
	Scope         string    `json:"scope"`          // of the access token, space-separated
	AccessToken   string    `json:"-"`
	Expiry        time.Time `json:"expiry"`     // of the access token
	RefreshToken  string    `json:"-"`          // empty: the client gets none
	SessionToken  string    `json:"-"`          // empty: the client gets none
	Generation    int64     `json:"generation"` // rises with every refresh and step-up: of two answers the higher one is newer

	// Pending is a step-up whose answer has not come yet; nil: none. It belongs to
	// what is kept of a session, because the server may have replaced the refresh
	// token already.
	Pending *PendingStepUp `json:"-"`
}

// serialized is what Serialize writes.
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

// Serialize writes the tokens as JSON, secrets included, for a [Store] that
// keeps them where nobody else can read.
func (t Tokens) Serialize() []byte {
	text, _ := json.Marshal(serialized{ // strings, numbers and times: it cannot fail
		t.SessionID, t.SessionExpiry, t.Scope, t.AccessToken, t.Expiry, t.RefreshToken, t.SessionToken, t.Generation, t.Pending.serialized(),
	})
	return text
}

// ParseTokens reads what [Tokens.Serialize] wrote.
func ParseTokens(text []byte) (Tokens, error) {
	var s serialized
	if err := json.Unmarshal(text, &s); err != nil {
		return Tokens{}, fmt.Errorf("latchkey: reading serialized tokens: %w", err)
	}
	if s.SessionID == "" {
		return Tokens{}, fmt.Errorf("latchkey: serialized tokens without a session")
	}
	return Tokens{
		s.SessionID, s.SessionExpiry, s.Scope, s.AccessToken, s.Expiry, s.RefreshToken, s.SessionToken, s.Generation, s.Pending.pending(),
	}, nil
}

// String tells the session and nothing secret.
func (t Tokens) String() string { return "session " + t.SessionID }

// Format writes String, whatever the verb.
func (t Tokens) Format(f fmt.State, _ rune) { io.WriteString(f, t.String()) }

// LogValue implements slog.LogValuer.
func (t Tokens) LogValue() slog.Value {
	return slog.GroupValue(slog.String("session_id", t.SessionID), slog.Time("expiry", t.Expiry), slog.Time("session_expiry", t.SessionExpiry))
}

// fillFrom fills what an answer leaves out from the tokens before it.
func (t Tokens) fillFrom(before Tokens) Tokens {
	if t.RefreshToken == "" {
		t.RefreshToken = before.RefreshToken
	}
	if t.SessionToken == "" {
		t.SessionToken = before.SessionToken
	}
	return t
}

// newerThan reports whether the server issued t after other. Answers of the same
// generation have the same handles: among these the access token whose user
// proved more recently who they are is the newer one.
func (t Tokens) newerThan(other Tokens) bool {
	if t.Generation != other.Generation {
		return t.Generation > other.Generation
	}
	return authTime(t.AccessToken) > authTime(other.AccessToken)
}

func (t Tokens) sameSessionCredentials(other Tokens) bool {
	return t.RefreshToken == other.RefreshToken && t.SessionToken == other.SessionToken
}

// longestLived is a token that stands for the session: one that does not expire before
// it, if there is one.
func (t Tokens) longestLived() string {
	switch {
	case t.RefreshToken != "":
		return t.RefreshToken
	case t.SessionToken != "":
		return t.SessionToken
	}
	return t.AccessToken
}
