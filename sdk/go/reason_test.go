package latchkey_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

func TestTheReasonDecidesWhetherASessionHasEnded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason, endReason string
		ended             bool
	}{
		{"session_ended", "revoked_by_user", true},
		{"refresh_reused", "reuse_detected", true},
		{"refresh_unknown", "", true},
		{"", "", true}, // an older server
		{"a_word_of_a_later_release", "", false},
		{"refresh_superseded", "", false},
		{"chain_mismatch", "", false},
	} {
		a := newApp(t)
		s := a.signIn()
		a.network.fail(respondWith(400, jsonType, `{"error":"invalid_grant","error_description":"a sentence","latchkey_reason":"`+c.reason+`","latchkey_end_reason":"`+c.endReason+`"}`))
		err := a.RefreshSession(t.Context(), s)
		var refusal *latchkey.Error
		if !errors.As(err, &refusal) || refusal.Reason != c.reason || refusal.EndReason != c.endReason || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%q: %v", c.reason, err)
		}
		if errors.Is(err, latchkey.ErrSessionEnded) != c.ended {
			t.Errorf("%q: the session has ended: %t", c.reason, !c.ended)
		}
		if !c.ended {
			a.requireUsable(a.RestoreSession(s.Tokens(), nil))
		}
	}
}

// After the retry window the server takes a superseded token for a stolen one.
func TestASupersededRefreshTokenIsNotSentAgain(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := a.signIn()
	a.network.fail(respondWith(400, jsonType, `{"error":"invalid_grant","latchkey_reason":"refresh_superseded"}`))
	a.network.take()
	for attempt := range 3 {
		err := a.RefreshSession(t.Context(), s)
		var refusal *latchkey.Error
		if !errors.As(err, &refusal) || refusal.Reason != latchkey.ReasonRefreshSuperseded || s.Err() != nil {
			t.Errorf("attempt %d: %v", attempt, err)
		}
		a.issuer.Advance(time.Minute)
	}
	if n := len(a.network.take()); n != 1 {
		t.Errorf("%d requests", n)
	}
}
