package bff

import (
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// A refresh in progress must not end a session that was dropped from memory.
func TestASealedSessionThatWasDroppedFromMemoryContinues(t *testing.T) {
	t.Parallel()
	store := cookieStore{NewMemoryStore(1, nil)}
	end := time.Now().Add(time.Hour)
	for _, key := range []string{"a", "b"} { // b replaces a
		if err := store.Create(t.Context(), key, latchkey.Tokens{SessionID: key, SessionExpiry: end}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Update(t.Context(), "a", latchkey.Tokens{SessionID: "a", SessionExpiry: end, RefreshToken: "next"}); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Load(t.Context(), "a"); err != nil || got.RefreshToken != "next" {
		t.Errorf("the session is %v, %v", got, err)
	}
}
