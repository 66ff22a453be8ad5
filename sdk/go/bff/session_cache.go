package bff

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// cachedSession is a session that requests of this process share. It holds the
// tokens for the upstreams, which are not in the store.
type cachedSession struct {
	*latchkey.Session
	stored *storedSession

	mu           sync.Mutex
	replacements map[string]replacement // by the upstream's prefix
	steppedUpBy  [sha256.Size]byte      // digest of the client token of the last step-up
}

// recordStepUp remembers the client token of a step-up that was answered.
func (l *cachedSession) recordStepUp(clientToken string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.steppedUpBy = sha256.Sum256([]byte(clientToken))
}

// wasSteppedUpBy reports whether the last step-up used this client token.
func (l *cachedSession) wasSteppedUpBy(clientToken string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.steppedUpBy == sha256.Sum256([]byte(clientToken))
}

// maxCachedSessions bounds the number of cached sessions.
const maxCachedSessions = 10_000

// sessionCache holds the sessions of this process. Others are restored from the
// store.
type sessionCache struct {
	mu    sync.Mutex
	byKey map[string]*cachedSession
}

// find returns the session of a key, or the result of restore. If the cache is
// full, another session is dropped, which costs it a refresh.
func (l *sessionCache) find(key string, restore func() *cachedSession) *cachedSession {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.byKey[key]; s != nil {
		return s
	}
	if len(l.byKey) >= maxCachedSessions {
		for other := range l.byKey {
			delete(l.byKey, other)
			break
		}
	}
	s := restore()
	l.byKey[key] = s
	return s
}

func (l *sessionCache) forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byKey, key)
}

func (l *sessionCache) move(from, to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.byKey[from]; s != nil {
		l.byKey[to] = s
		delete(l.byKey, from)
	}
}

// storedSession implements [latchkey.Store] for one session of a [Store].
type storedSession struct {
	store Store

	mu  sync.RWMutex // held for writing while the key changes
	key string
}

// Load implements [latchkey.Store].
func (k *storedSession) Load(ctx context.Context, _ string) (latchkey.Tokens, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	t, err := k.store.Load(ctx, k.key)
	return t, asSessionEnded(err)
}

// Save implements [latchkey.Store].
func (k *storedSession) Save(ctx context.Context, _ string, t latchkey.Tokens) error {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return asSessionEnded(k.store.Update(ctx, k.key, t))
}

// move gives the session another key. A refresh in progress for a request with
// the old cookie saves its tokens under the new key.
func (k *storedSession) move(ctx context.Context, to string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.store.Move(ctx, k.key, to)
	if err == nil {
		k.key = to
	}
	return err
}

// asSessionEnded translates ErrNoSession into the client's error for an ended
// session.
func asSessionEnded(err error) error {
	if errors.Is(err, ErrNoSession) {
		return fmt.Errorf("%w: %w", latchkey.ErrSessionEnded, err)
	}
	return err
}
