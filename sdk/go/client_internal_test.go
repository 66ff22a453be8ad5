package latchkey

import (
	"errors"
	"testing"
	"time"
)

func TestAnImplausibleTokenResponseIsRejected(t *testing.T) {
	good := tokenResponse{AccessToken: "a", TokenType: "Bearer", ExpiresIn: 300, SessionID: "s", SessionExpiresAt: 2000000000}
	now := time.Unix(1790000000, 0)
	if got, err := good.tokens(now); err != nil || !got.Expiry.Equal(now.Add(5*time.Minute)) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, change := range map[string]func(*tokenResponse){
		"no token":                 func(a *tokenResponse) { a.AccessToken = "" },
		"another type":             func(a *tokenResponse) { a.TokenType = "DPoP" },
		"no life":                  func(a *tokenResponse) { a.ExpiresIn = 0 },
		"a life of centuries":      func(a *tokenResponse) { a.ExpiresIn = 10_000_000_000 },
		"no session":               func(a *tokenResponse) { a.SessionID = "" },
		"a session without an end": func(a *tokenResponse) { a.SessionExpiresAt = 0 },
	} {
		answer := good
		change(&answer)
		if _, err := answer.tokens(now); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
