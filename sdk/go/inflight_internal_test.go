package latchkey

import (
	"context"
	"testing"
)

// Another caller may refresh between a caller's check that the token is stale
// and its request.
func TestATokenThatWasJustRefreshedIsNotRefreshedAgain(t *testing.T) {
	c, err := NewClient("https://id.example.com", "web", ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := c.RestoreSession(Tokens{SessionID: "s", AccessToken: "new"}, nil)
	f := c.joinOrStart(t.Context(), s, "", "old", func(context.Context, *Session) (update, error) {
		t.Error("it was refreshed again")
		return update{}, nil
	})
	if err := f.wait(t.Context()); err != nil || s.Tokens().AccessToken != "new" {
		t.Errorf("%v", err)
	}
}

// A caller that waited for a refresh and wakes late must not undo the next one.
func TestARefreshPassesOnItsTokensBeforeTheNextStarts(t *testing.T) {
	c, err := NewClient("https://id.example.com", "web", ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, other := c.RestoreSession(Tokens{SessionID: "s", AccessToken: "1"}, nil), c.RestoreSession(Tokens{SessionID: "s", AccessToken: "1"}, nil)
	arrived := make(chan struct{})
	to := func(next string) operation {
		return func(context.Context, *Session) (update, error) {
			<-arrived
			return update{tokens: Tokens{SessionID: "s", AccessToken: next}}, nil
		}
	}
	first := c.joinOrStart(t.Context(), s, "", "1", to("2"))
	if c.joinOrStart(t.Context(), other, "", "1", to("none")) != first {
		t.Error("two requests at once")
	}
	close(arrived)
	if err := first.wait(t.Context()); err != nil || other.Tokens().AccessToken != "2" {
		t.Errorf("the other handle has %q: %v", other.Tokens().AccessToken, err)
	}
	if err := c.joinOrStart(t.Context(), s, "", "2", to("3")).wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := first.wait(t.Context()); err != nil || s.Tokens().AccessToken != "3" {
		t.Errorf("the handle went back to %q: %v", s.Tokens().AccessToken, err)
	}
}
