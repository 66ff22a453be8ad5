package main

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

// once stores values under random tokens, each for a lifetime and for one use. With a
// database, take is one statement: DELETE … WHERE digest = $1 AND expires > now()
// RETURNING value.
type once[T any] struct {
	lifetime time.Duration
	mu       sync.Mutex
	entries  map[[sha256.Size]byte]entry[T] // by the token's digest: the store contains no token
}

type entry[T any] struct {
	value   T
	expires time.Time
}

func newOnce[T any](lifetime time.Duration) *once[T] {
	return &once[T]{lifetime: lifetime, entries: map[[sha256.Size]byte]entry[T]{}}
}

// put returns the token of a value.
func (o *once[T]) put(value T) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	for digest, e := range o.entries {
		if !time.Now().Before(e.expires) {
			delete(o.entries, digest)
		}
	}
	token := rand.Text()
	o.entries[sha256.Sum256([]byte(token))] = entry[T]{value, time.Now().Add(o.lifetime)}
	return token
}

// take returns the value of a token and removes it. It reports whether there was one
// that had not expired.
func (o *once[T]) take(token string) (T, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	digest := sha256.Sum256([]byte(token))
	e, ok := o.entries[digest]
	delete(o.entries, digest)
	return e.value, ok && time.Now().Before(e.expires)
}
