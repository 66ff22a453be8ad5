// Package redisstore keeps the sessions of a [bff.BFF] in Redis. They survive
// restarts, are shared by all processes of an app, and expire by themselves.
//
// Redis holds tokens in clear text, under digests of the cookies' values.
// Whoever reads it can use the sessions: protect it like the tokens. A Redis
// that evicts keys, or loses them in a restart, signs users out.
package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
)

// Options configure a [Store]. The zero value is valid.
type Options struct {
	// Prefix begins every key. Default: "latchkey:bff:". A Redis Cluster needs
	// a hash tag in it, such as "{latchkey}:bff:": a session changes its key
	// atomically, which Redis supports within one slot only.
	Prefix string
}

// Store is a [bff.Store] in Redis. It is safe for concurrent use.
type Store struct {
	client redis.UniversalClient
	prefix string
}

// New returns a store that uses client. The caller closes client.
func New(client redis.UniversalClient, o Options) *Store {
	if o.Prefix == "" {
		o.Prefix = "latchkey:bff:"
	}
	return &Store{client: client, prefix: o.Prefix}
}

// Create implements [bff.Store].
func (s *Store) Create(ctx context.Context, key string, t latchkey.Tokens) error {
	return wrap("create a session", s.set(ctx, key, t, ""))
}

// Load implements [bff.Store].
func (s *Store) Load(ctx context.Context, key string) (latchkey.Tokens, error) {
	text, err := s.client.Get(ctx, s.prefix+key).Bytes()
	if err != nil {
		return latchkey.Tokens{}, wrap("load a session", err)
	}
	return latchkey.ParseTokens(text)
}

// Update implements [bff.Store].
func (s *Store) Update(ctx context.Context, key string, t latchkey.Tokens) error {
	return wrap("update a session", s.set(ctx, key, t, "XX"))
}

// set writes tokens that expire with their session. With mode XX the key must
// exist (redis.Nil otherwise).
func (s *Store) set(ctx context.Context, key string, t latchkey.Tokens, mode string) error {
	return s.client.SetArgs(ctx, s.prefix+key, t.Serialize(), redis.SetArgs{Mode: mode, ExpireAt: t.SessionExpiry.Truncate(time.Second)}).Err()
}

// Move implements [bff.Store].
func (s *Store) Move(ctx context.Context, from, to string) error {
	err := s.client.Rename(ctx, s.prefix+from, s.prefix+to).Err()
	if err != nil && strings.Contains(err.Error(), "no such key") {
		return bff.ErrNoSession
	}
	return wrap("move a session", err)
}

// Delete implements [bff.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	return wrap("delete a session", s.client.Del(ctx, s.prefix+key).Err())
}

func wrap(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.Nil):
		return bff.ErrNoSession
	default:
		return fmt.Errorf("redisstore: %s: %w", what, err)
	}
}
