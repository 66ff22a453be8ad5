package bff

import (
	"container/list"
	"context"
	"sync"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// Store keeps sessions by keys that are digests of what the cookies hold: who
// reads the store cannot make a cookie, but can read tokens, so it is as secret
// as they are. Where there is no such key, errors wrap [ErrNoSession]; every
// other error is an outage.
type Store interface {
	// Create keeps a new session. It may be dropped when its SessionExpiry is past.
	Create(ctx context.Context, key string, t latchkey.Tokens) error
	// Load is what was last kept.
	Load(ctx context.Context, key string) (latchkey.Tokens, error)
	// Update replaces the tokens, only if the key is there: a session that was
	// signed out meanwhile does not come back.
	Update(ctx context.Context, key string, t latchkey.Tokens) error
	// Move gives a session another key, in one step.
	Move(ctx context.Context, from, to string) error
	// Delete forgets a session. It is no error if there is none.
	Delete(ctx context.Context, key string) error
}

// MemoryStore is a [Store] in memory.
type MemoryStore struct {
	most int
	now  func() time.Time

	mu    sync.Mutex
	byKey map[string]*list.Element
	used  *list.List // of *entry, the most recently used first
}

type entry struct {
	key    string
	tokens latchkey.Tokens
}

// NewMemoryStore makes a store for so many sessions. When it is full, a new one
// takes the place of the one that was not used for longest, whose user has to
// sign in again. now tells which have ended; nil: time.Now.
func NewMemoryStore(most int, now func() time.Time) *MemoryStore {
	if now == nil {
		now = time.Now
	}
	return &MemoryStore{most: max(1, most), now: now, byKey: map[string]*list.Element{}, used: list.New()}
}

// Create implements [Store].
func (m *MemoryStore) Create(_ context.Context, key string, t latchkey.Tokens) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(key)
	for m.used.Len() >= m.most {
		m.remove(m.used.Back().Value.(*entry).key)
	}
	m.byKey[key] = m.used.PushFront(&entry{key, t})
	return nil
}

// Load implements [Store].
func (m *MemoryStore) Load(_ context.Context, key string) (latchkey.Tokens, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.find(key)
	if e == nil {
		return latchkey.Tokens{}, ErrNoSession
	}
	return e.tokens, nil
}

// Update implements [Store].
func (m *MemoryStore) Update(_ context.Context, key string, t latchkey.Tokens) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.find(key)
	if e == nil {
		return ErrNoSession
	}
	e.tokens = t
	return nil
}

// Move implements [Store].
func (m *MemoryStore) Move(_ context.Context, from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.find(from)
	if e == nil {
		return ErrNoSession
	}
	m.byKey[to] = m.byKey[from]
	delete(m.byKey, from)
	e.key = to
	return nil
}

// Delete implements [Store].
func (m *MemoryStore) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(key)
	return nil
}

// find is a live session, which is in use by that; nil: there is none.
func (m *MemoryStore) find(key string) *entry {
	element := m.byKey[key]
	if element == nil {
		return nil
	}
	e := element.Value.(*entry)
	if !m.now().Before(e.tokens.SessionExpiry) {
		m.remove(key)
		return nil
	}
	m.used.MoveToFront(element)
	return e
}

func (m *MemoryStore) remove(key string) {
	if element := m.byKey[key]; element != nil {
		m.used.Remove(element)
		delete(m.byKey, key)
	}
}
