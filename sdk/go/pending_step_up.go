package latchkey

import (
	"fmt"
	"io"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// PendingStepUp is a step-up that was begun and has no answer yet. It is kept
// with the session's tokens, and is as secret as they are: the server gives the
// handles that it made to whoever sends the same request again.
type PendingStepUp struct {
	ClientToken string       `json:"-"`
	Params      StepUpParams `json:"-"`
}

// String names no secret.
func (p PendingStepUp) String() string { return "pending step-up" }

// Format writes String, whatever the verb.
func (p PendingStepUp) Format(f fmt.State, _ rune) { io.WriteString(f, p.String()) }

// serializedStepUp is what Tokens.Serialize writes of a pending step-up.
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

// authTime is the auth_time of an access token; 0: it cannot be read. The token
// is not verified, because it came from the token endpoint itself.
func authTime(accessToken string) int64 {
	var claims struct {
		AuthTime int64 `json:"auth_time"`
	}
	if !wire.UnverifiedClaims(accessToken, &claims) {
		return 0
	}
	return claims.AuthTime
}
