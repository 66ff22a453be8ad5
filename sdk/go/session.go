package latchkey

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
)

// Session is a handle of a session: it holds the tokens of the moment, which
// [Client.RefreshSession] and [Client.StepUp] replace. It is safe for concurrent
// use. Two handles of one session need a [Store], by which one learns what the
// other got: a refresh token that was used long ago ends its session.
type Session struct {
	store Store // nil: none

	mu       sync.Mutex
	tokens   Tokens
	narrowed map[string]Tokens // for targets; at most maxKept
	unsaved  *Tokens           // what the server gave and the store has not got yet
	ended    error             // wraps ErrSessionEnded
}

// Store keeps the tokens of sessions where they outlive the process.
//
// New tokens are saved before they are handed out. A crash before that loses
// nothing: the old refresh token, sent again inside the server's retry window,
// yields the same successor. A store says with an error that wraps
// [ErrSessionEnded] that it has no such session (any more); every other error is
// an outage.
type Store interface {
	// Load is what was last saved of a session.
	Load(ctx context.Context, sessionID string) (Tokens, error)
	// Save replaces it.
	Save(ctx context.Context, sessionID string, t Tokens) error
}

// Restore makes a handle of a session from what was kept of it. What comes next
// is kept in the store; nil: that of the client.
func (c *Client) Restore(t Tokens, store Store) *Session {
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

func (s *Session) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.narrowed = err, nil
}

func (s *Session) replace(t Tokens) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = t
}

// waiting are tokens that have yet to be saved; nil: none.
func (s *Session) waiting() *Tokens {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsaved
}

// load is the session as its store has it, or as the handle does. The store is
// first offered what it has not taken yet: it would answer with a refresh token
// that is used up.
func (s *Session) load(ctx context.Context) (Tokens, error) {
	t := s.Tokens()
	if s.store == nil {
		return t, nil
	}
	if waiting := s.waiting(); waiting != nil {
		if err := s.save(ctx, *waiting); err != nil {
			return Tokens{}, err
		}
	}
	stored, err := s.store.Load(ctx, t.SessionID)
	if err != nil {
		return Tokens{}, storeTrouble(err)
	}
	return stored, nil
}

// save hands tokens to the store. What it does not take is kept for the next
// attempt: the server may not give it again.
func (s *Session) save(ctx context.Context, t Tokens) error {
	if s.store == nil {
		return nil
	}
	err := s.store.Save(ctx, t.SessionID, t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.unsaved = &t
		return storeTrouble(err)
	}
	s.unsaved = nil
	return nil
}

func storeTrouble(err error) error {
	if errors.Is(err, ErrSessionEnded) {
		return err
	}
	return fmt.Errorf("%w: the session store: %w", ErrUnavailable, err)
}
