package bff

import (
	"context"
	"errors"
	"fmt"
	"sync"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// live is a session whose browser has sent requests, which share its handle: it
// knows the tokens for the upstreams, which no store has.
type live struct {
	*latchkey.Session
	kept *kept

	mu           sync.Mutex
	replacements map[string]replacement // by the upstream's prefix
}

// maxLive bounds how many there are.
const maxLive = 10_000

// lives are those of this process. A session that is not among them is restored
// from the store.
type lives struct {
	mu    sync.Mutex
	byKey map[string]*live
}

// find is the session of a key, or what restore makes of it. If there are too
// many another one goes, which costs it a refresh.
func (l *lives) find(key string, restore func() *live) *live {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.byKey[key]; s != nil {
		return s
	}
	if len(l.byKey) >= maxLive {
		for other := range l.byKey {
			delete(l.byKey, other)
			break
		}
	}
	s := restore()
	l.byKey[key] = s
	return s
}

func (l *lives) forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byKey, key)
}

func (l *lives) move(from, to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.byKey[from]; s != nil {
		l.byKey[to] = s
		delete(l.byKey, from)
	}
}

// kept is the place of one session in the store, as its client knows it.
type kept struct {
	store Store

	mu  sync.RWMutex // not read while it changes
	key string
}

// Load implements [latchkey.Store].
func (k *kept) Load(ctx context.Context, _ string) (latchkey.Tokens, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	t, err := k.store.Load(ctx, k.key)
	return t, gone(err)
}

// Save implements [latchkey.Store].
func (k *kept) Save(ctx context.Context, _ string, t latchkey.Tokens) error {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return gone(k.store.Update(ctx, k.key, t))
}

// move gives the session another key. A refresh that is under way for a request
// with the old cookie saves its tokens under the new one.
func (k *kept) move(ctx context.Context, to string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.store.Move(ctx, k.key, to)
	if err == nil {
		k.key = to
	}
	return err
}

// gone says in the client's words that a session was signed out.
func gone(err error) error {
	if errors.Is(err, ErrNoSession) {
		return fmt.Errorf("%w: %w", latchkey.ErrSessionEnded, err)
	}
	return err
}
