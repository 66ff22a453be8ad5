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

// Session holds the current tokens of a session, which [Client.RefreshSession]
// and [Client.StepUp] replace. It is safe for concurrent use.
//
// Two Session values for the same session, such as in two processes, need a
// [Store] to share their tokens: sending an old refresh token ends the session.
type Session struct {
	store Store // nil: none

	mu             sync.Mutex
	tokens         Tokens
	targetTokens   map[string]Tokens // by the key of their target; at most maxTargets
	unsaved        *Tokens           // received from the server and not saved yet
	pendingRetryAt time.Time         // until then AccessToken and TokenFor do not repeat a pending step-up
	ended          error             // wraps ErrSessionEnded
	stale          staleToken
}

// staleToken is a token that was refused because a newer one exists. Sent again after
// the retry window, it would end the session as a stolen one would.
type staleToken struct {
	token string
	err   error
}

// Store keeps the tokens of sessions beyond the life of the process.
//
// New tokens are saved before they are returned. A crash in between loses
// nothing: the server answers the old refresh token again with the same
// successor. A step-up is saved before it is sent, as [Tokens.Pending], which a
// store must keep with the rest; [Tokens.Serialize] includes it.
//
// Before it saves, the client loads the stored tokens, and leaves them in place
// if they have a higher [Tokens.Generation].
//
// A store that does not have a session returns an error that wraps
// [ErrSessionEnded]. Every other error counts as an outage.
type Store interface {
	// Load returns the tokens that were last saved for a session.
	Load(ctx context.Context, sessionID string) (Tokens, error)
	// Save replaces the tokens of a session.
	Save(ctx context.Context, sessionID string, t Tokens) error
}

// RestoreSession returns a Session for stored tokens. New tokens are saved to
// store; if it is nil, to the client's store.
func (c *Client) RestoreSession(t Tokens, store Store) *Session {
	if store == nil {
		store = c.store
	}
	return &Session{store: store, tokens: t}
}

// ID returns the session's id (sid). It is not a secret and grants no access.
func (s *Session) ID() string { return s.Tokens().SessionID }

// Tokens returns the session's current tokens.
func (s *Session) Tokens() Tokens {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens
}

// Err returns nil, or an error that wraps [ErrSessionEnded] once the session is
// known to have ended.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// String identifies the session without revealing secrets.
func (s *Session) String() string { return s.Tokens().String() }

// Format writes String, for any verb.
func (s *Session) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue implements slog.LogValuer.
func (s *Session) LogValue() slog.Value { return s.Tokens().LogValue() }

// MarshalJSON writes the session without its secrets.
func (s *Session) MarshalJSON() ([]byte, error) { return json.Marshal(s.Tokens()) }

func (s *Session) markEnded(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.targetTokens = err, nil
}

// replace sets the session's tokens unless it has newer ones.
func (s *Session) replace(t Tokens) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens.Generation <= t.Generation {
		s.tokens = t
	}
}

// clearPending removes a pending step-up that was answered, before the result
// is saved.
func (s *Session) clearPending() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens.Pending = nil
}

// hasDueStepUp reports whether a pending step-up should be sent again.
func (s *Session) hasDueStepUp(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens.Pending != nil && !now.Before(s.pendingRetryAt)
}

// deferPending delays the next attempt to send a pending step-up.
func (s *Session) deferPending(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pendingRetryAt = t
}

// unsavedTokens returns tokens that have yet to be saved, or nil.
func (s *Session) unsavedTokens() *Tokens {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsaved
}

// load returns the newer tokens of those in the store and those of the Session.
// It first saves tokens that an earlier call could not save. A pending step-up
// is kept even if another process has overwritten it in the store.
func (s *Session) load(ctx context.Context) (Tokens, error) {
	if s.store == nil {
		return s.Tokens(), nil
	}
	if unsaved := s.unsavedTokens(); unsaved != nil {
		if _, err := s.save(ctx, *unsaved, Tokens{}); err != nil {
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

// save writes tokens that replace `before` to the store, unless another process
// has stored newer ones, and returns the tokens that the store has then. If it
// fails, the tokens are kept for the next attempt.
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

// write replaces the stored tokens.
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
	return fmt.Errorf("%w: session store: %w", ErrUnavailable, err)
}
