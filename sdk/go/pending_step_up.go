package latchkey

import (
	"fmt"
	"io"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// PendingStepUp is a step-up that was sent and not answered yet. It is stored
// with the session's tokens and is as secret as they are: the server returns
// the new tokens to anyone who repeats the request.
type PendingStepUp struct {
	ClientToken string       `json:"-"`
	Params      StepUpParams `json:"-"`
}

// String returns a text without secrets.
func (p PendingStepUp) String() string { return "pending step-up" }

// Format writes String, for any verb.
func (p PendingStepUp) Format(f fmt.State, _ rune) { io.WriteString(f, p.String()) }

// serializedStepUp is the form of a pending step-up in Tokens.Serialize.
type serializedStepUp struct {
	ClientToken      string   `json:"client_token"`
	SubjectTokenType string   `json:"subject_token_type,omitempty"`
	ACRValues        []string `json:"acr_values,omitempty"`
	MaxAge           *int64   `json:"max_age,omitempty"` // seconds
}

func (p *PendingStepUp) serialized() *serializedStepUp {
	if p == nil {
		return nil
	}
	s := &serializedStepUp{ClientToken: p.ClientToken, SubjectTokenType: p.Params.SubjectTokenType, ACRValues: p.Params.ACRValues}
	if p.Params.MaxAge != nil {
		seconds := int64(*p.Params.MaxAge / time.Second)
		s.MaxAge = &seconds
	}
	return s
}

func (s *serializedStepUp) pending() *PendingStepUp {
	if s == nil || s.ClientToken == "" {
		return nil
	}
	p := &PendingStepUp{ClientToken: s.ClientToken}
	p.Params.SubjectTokenType, p.Params.ACRValues = s.SubjectTokenType, s.ACRValues
	if s.MaxAge != nil {
		age := time.Duration(*s.MaxAge) * time.Second
		p.Params.MaxAge = &age
	}
	return p
}

// authTime returns the auth_time of an access token, or 0 if it cannot be read.
// The token came from the token endpoint, so its signature does not matter.
func authTime(accessToken string) int64 {
	var claims struct {
		AuthTime int64 `json:"auth_time"`
	}
	if !wire.UnverifiedClaims(accessToken, &claims) {
		return 0
	}
	return claims.AuthTime
}
