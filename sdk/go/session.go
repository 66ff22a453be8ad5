package latchkey

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Session is a handle of a session: it holds the tokens of the moment, which
// [Client.RefreshSession] and [Client.StepUp] replace. It is safe for concurrent
// use. Two handles of one session need a [Store], by which one learns what the
// other got: a refresh token that was used long ago ends its session.
type Session struct {
	store Store // nil: none

	mu             sync.Mutex
	tokens         Tokens
	targetTokens   map[string]Tokens // for targets; at most maxKept
	unsaved        *Tokens           // what the server gave and the store has not got yet
	pendingRetryAt time.Time         // until then a pending step-up is not sent again for the sake of a fresh access token
	ended          error             // wraps ErrSessionEnded
}

// Store keeps the tokens of sessions where they outlive the process.
//
// New tokens are saved before they are handed out. A crash before that loses
// nothing: the server answers the old refresh token again with the same
// successor. A step-up is saved before it is sent, as [Tokens.Pending], which a
// store has to keep with the rest; [Tokens.Serialize] writes all of it.
//
// Before it saves, the client loads, and leaves in place what is newer by
// [Tokens.Generation]. A store reports with an error that wraps [ErrSessionEnded]
// that it does not have the session; every other error is an outage.
type Store interface {
	// Load is what was last saved of a session.
	Load(ctx context.Context, sessionID string) (Tokens, error)
	// Save replaces it.
	Save(ctx context.Context, sessionID string, t Tokens) error
}

// RestoreSession makes a handle of a session from what was kept of it. What comes next
// is kept in the store; nil: that of the client.
func (c *Client) RestoreSession(t Tokens, store Store) *Session {
	if store == nil {
		store = c.store
	}
	return &Session{store: store, tokens: t}
}

// ID is the session's id (sid). It names the session and proves nothing.
func (s *Session) ID() string { return s.Tokens().SessionID }

// Tokens are those that the session has now.
func (s *Session) Tokens() Tokens {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens
}

// Err is nil as long as nothing is known to have ended the session; otherwise it
// wraps [ErrSessionEnded].
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// String tells the session and nothing secret.
func (s *Session) String() string { return s.Tokens().String() }

// Format writes String, whatever the verb.
func (s *Session) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue implements slog.LogValuer.
func (s *Session) LogValue() slog.Value { return s.Tokens().LogValue() }

// MarshalJSON shows what is not secret.
func (s *Session) MarshalJSON() ([]byte, error) { return json.Marshal(s.Tokens()) }

func (s *Session) markEnded(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.targetTokens = err, nil
}

// replace gives the session other tokens, unless it has newer ones.
func (s *Session) replace(t Tokens) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens.Generation <= t.Generation {
		s.tokens = t
	}
}

// clearPending forgets a pending step-up that was answered, before the answer is saved.
func (s *Session) clearPending() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens.Pending = nil
}

// hasDueStepUp reports whether a step-up is pending and is to be sent again.
func (s *Session) hasDueStepUp(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens.Pending != nil && !now.Before(s.pendingRetryAt)
}

// deferPending puts off a pending step-up that found no answer.
func (s *Session) deferPending(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pendingRetryAt = t
}

// unsavedTokens are tokens that have yet to be saved; nil: none.
func (s *Session) unsavedTokens() *Tokens {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsaved
}

// load returns the tokens of the store or those of the handle, whichever are
// newer. The store is first offered what it has not taken yet. A pending step-up
// of the handle stays pending when another process has overwritten it.
func (s *Session) load(ctx context.Context) (Tokens, error) {
	if s.store == nil {
		return s.Tokens(), nil
	}
	if waiting := s.unsavedTokens(); waiting != nil {
		if _, err := s.save(ctx, *waiting, Tokens{}); err != nil {
			return Tokens{}, err
		}
	}
	t := s.Tokens()
	latest, err := s.store.Load(ctx, t.SessionID)
	if err != nil {
		return Tokens{}, storeError(err)
	}
	if t.newerThan(latest) {
		latest, t = t, latest
	}
	if latest.Pending == nil {
		latest.Pending = t.Pending
	}
	return latest, nil
}

// save hands tokens to the store that the server gave in place of `before`, and
// returns what the store has then: newer ones of another process stay. What the
// store does not take is kept for the next attempt.
func (s *Session) save(ctx context.Context, t, before Tokens) (Tokens, error) {
	if s.store == nil {
		return t, nil
	}
	stored, err := s.store.Load(ctx, t.SessionID)
	switch {
	case err == nil && stored.AccessToken != before.AccessToken && stored.newerThan(t):
		t = stored
	case err == nil || errors.Is(err, ErrSessionEnded): // Save decides
		err = s.write(ctx, t)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.unsaved = &t
		return Tokens{}, storeError(err)
	}
	s.unsaved = nil
	return t, nil
}

// write replaces what the store has.
func (s *Session) write(ctx context.Context, t Tokens) error {
	if s.store == nil {
		return nil
	}
	if err := s.store.Save(ctx, t.SessionID, t); err != nil {
		return storeError(err)
	}
	return nil
}

func storeError(err error) error {
	if errors.Is(err, ErrSessionEnded) || errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: the session store: %w", ErrUnavailable, err)
}
