package models

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"time"

	"github.com/latchkey/latchkey/session"
)

// maxStepUpTokens bounds how many client tokens of one step-up are remembered.
const maxStepUpTokens = 8

// StepUp is what a session's row remembers of its last step-up.
type StepUp struct {
	// Generation is that of the refresh token that it made; 0: there was none.
	Generation uint32
	// Tokens are digests of the client tokens that made the session's handles, or
	// raised it once more in the same retry window. Whoever shows one of them
	// again gets those handles again. Empty: one of the handles has been used.
	Tokens []byte
	// Before is what the session was worth before; nil: its refresh token has been used.
	Before *Assurance
	// Superseded holds the generations of the refresh tokens that step-ups
	// replaced without having seen them.
	Superseded Generations
}

// Assurance is what a session is worth, as its row keeps it.
type Assurance struct {
	Factors  []session.Factor `json:"factors"`
	ACR      *string          `json:"acr,omitempty"`
	Decided  session.Decision `json:"decided,omitzero"`
	AuthTime time.Time        `json:"auth_time"`
}

// Assurance is what the session is worth now.
func (s *Session) Assurance() *Assurance {
	return &Assurance{Factors: s.Factors, ACR: s.StoredACR, Decided: s.Decided, AuthTime: s.AuthTime}
}

// As is the session as it was worth at another time.
func (s *Session) As(worth *Assurance) *Session {
	before := *s
	before.Factors, before.StoredACR, before.Decided, before.AuthTime = worth.Factors, worth.ACR, worth.Decided, worth.AuthTime
	return &before
}

// First is the digest of the client token that made the handles; nil: they have
// been used.
func (u *StepUp) First() []byte {
	if len(u.Tokens) < sha256.Size {
		return nil
	}
	return u.Tokens[:sha256.Size]
}

// Brought reports whether a client token with this digest is one of Tokens.
func (u *StepUp) Brought(digest []byte) bool {
	for rest := u.Tokens; len(rest) >= sha256.Size; rest = rest[sha256.Size:] {
		if subtle.ConstantTimeCompare(rest[:sha256.Size], digest) == 1 {
			return true
		}
	}
	return false
}

// Remember adds the digest of one more client token.
func (u *StepUp) Remember(digest []byte) {
	if len(u.Tokens) < maxStepUpTokens*sha256.Size {
		u.Tokens = append(u.Tokens[:len(u.Tokens):len(u.Tokens)], digest...)
	}
}

// before is Before as the row keeps it.
func (u *StepUp) before() (any, error) {
	if u.Before == nil {
		return nil, nil
	}
	text, err := json.Marshal(u.Before)
	return string(text), err
}
