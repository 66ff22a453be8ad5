package models

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"time"

	"github.com/latchkey/latchkey/session"
)

// maxStepUpTokens limits how many client tokens of one step-up are stored.
const maxStepUpTokens = 8

// StepUp is what a session's row records about its last step-up.
type StepUp struct {
	// Generation is the generation of the refresh token that it issued; 0 if it
	// issued none.
	Generation uint32
	// Tokens are digests of the client tokens that issued the session's
	// handles, or that stepped the session up again in the same retry window.
	// Presenting one of them again returns the same handles. It is empty once a
	// handle has been used.
	Tokens []byte
	// Before is the session's assurance before the step-up; nil once its
	// refresh token has been used.
	Before *Assurance
	// Superseded holds the generations of the refresh tokens that step-ups
	// replaced without having received them.
	Superseded Generations
}

// Assurance is how strongly a session's user has been authenticated, as the row
// stores it.
type Assurance struct {
	Factors  []session.Factor `json:"factors"`
	ACR      *string          `json:"acr,omitempty"`
	Decided  session.Decision `json:"decided,omitzero"`
	AuthTime time.Time        `json:"auth_time"`
}

// Assurance returns the current assurance of the session.
func (s *Session) Assurance() *Assurance {
	return &Assurance{Factors: s.Factors, ACR: s.StoredACR, Decided: s.Decided, AuthTime: s.AuthTime}
}

// WithAssurance returns a copy of the session with another assurance.
func (s *Session) WithAssurance(worth *Assurance) *Session {
	before := *s
	before.Factors, before.StoredACR, before.Decided, before.AuthTime = worth.Factors, worth.ACR, worth.Decided, worth.AuthTime
	return &before
}

// FirstToken returns the digest of the client token that issued the handles;
// nil if a handle has been used.
func (u *StepUp) FirstToken() []byte {
	if len(u.Tokens) < sha256.Size {
		return nil
	}
	return u.Tokens[:sha256.Size]
}

// HasToken reports whether digest is the digest of one of the client tokens.
func (u *StepUp) HasToken(digest []byte) bool {
	for rest := u.Tokens; len(rest) >= sha256.Size; rest = rest[sha256.Size:] {
		if subtle.ConstantTimeCompare(rest[:sha256.Size], digest) == 1 {
			return true
		}
	}
	return false
}

// AddToken adds the digest of another client token.
func (u *StepUp) AddToken(digest []byte) {
	if len(u.Tokens) < maxStepUpTokens*sha256.Size {
		u.Tokens = append(u.Tokens[:len(u.Tokens):len(u.Tokens)], digest...)
	}
}

// before returns Before as it is stored.
func (u *StepUp) before() (any, error) {
	if u.Before == nil {
		return nil, nil
	}
	text, err := json.Marshal(u.Before)
	return string(text), err
}
