package bff

import (
	"container/list"
	"context"
	"sync"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// Store keeps sessions under keys that are digests of the cookies' values:
// whoever reads the store cannot make a cookie, but can read tokens, so protect
// it like the tokens. If there is no such key, errors wrap [ErrNoSession];
// every other error counts as an outage.
type Store interface {
	// Create stores a new session. It may be dropped after its SessionExpiry.
	Create(ctx context.Context, key string, t latchkey.Tokens) error
	// Load returns the tokens that were last stored.
	Load(ctx context.Context, key string) (latchkey.Tokens, error)
	// Update replaces the tokens of an existing key. It must not create a
	// missing key: that session was signed out in the meantime.
	Update(ctx context.Context, key string, t latchkey.Tokens) error
	// Move changes the key of a session atomically.
	Move(ctx context.Context, from, to string) error
	// Delete removes a session. It succeeds if there is none.
	Delete(ctx context.Context, key string) error
}

// MemoryStore is a [Store] in memory.
type MemoryStore struct {
	capacity int
	now      func() time.Time

	mu    sync.Mutex
	byKey map[string]*list.Element
	used  *list.List // of *entry, most recently used first
}

type entry struct {
	key    string
	tokens latchkey.Tokens
}

// NewMemoryStore returns a store for at most capacity sessions. When it is
// full, a new session replaces the least recently used one, whose user must
// sign in again. now decides which sessions have expired; nil: time.Now.
func NewMemoryStore(capacity int, now func() time.Time) *MemoryStore {
	if now == nil {
		now = time.Now
	}
	return &MemoryStore{capacity: max(1, capacity), now: now, byKey: map[string]*list.Element{}, used: list.New()}
}

// Create implements [Store].
func (m *MemoryStore) Create(_ context.Context, key string, t latchkey.Tokens) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(key)
	for m.used.Len() >= m.capacity {
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

// find returns a live session and marks it as used, or returns nil.
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
