// Package storetest checks implementations of [bff.Store], such as your own.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
)

// Run checks that a store meets the contract of [bff.Store]. newStore returns a
// store for one test, or a store in which no other key begins with the name of
// the test.
func Run(t *testing.T, newStore func(*testing.T) bff.Store) {
	t.Helper()
	for name, check := range map[string]func(*checker){
		"returns the tokens that were last stored":     (*checker).keeps,
		"reports ErrNoSession for a missing key":       (*checker).reportsMissingKeys,
		"does not restore a deleted session":           (*checker).staysDeleted,
		"moves a session to another key":               (*checker).moves,
		"lets one of several concurrent moves succeed": (*checker).movesOnce,
		"drops an expired session":                     (*checker).expires,
		"does not report an outage as ErrNoSession":    (*checker).reportsOutages,
	} {
		t.Run(name, func(t *testing.T) {
			check(&checker{t, newStore(t), t.Context(), time.Now().Add(time.Hour).UTC().Truncate(time.Second)})
		})
	}
}

type checker struct {
	*testing.T
	store bff.Store
	ctx   context.Context
	end   time.Time // of every session
}

func (c *checker) key(name string) string { return c.Name() + "/" + name }

func (c *checker) tokens(name string) latchkey.Tokens {
	end := c.end
	return latchkey.Tokens{
		SessionID: "sid-" + name, SessionExpiry: end, Scope: "profile orders:read", AccessToken: "access-" + name, Expiry: end.Add(-time.Minute),
		RefreshToken: "lk_rt_" + name, SessionToken: "lk_st_" + name,
	}
}

func (c *checker) ok(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// loads requires that a key holds the tokens, or, for the zero value, that it
// holds none.
func (c *checker) loads(key string, want latchkey.Tokens) {
	c.Helper()
	got, err := c.store.Load(c.ctx, key)
	switch {
	case want.SessionID == "" && !errors.Is(err, bff.ErrNoSession):
		c.Errorf("loading a missing session returns %v, %v; want ErrNoSession", got, err)
	case want.SessionID != "" && (err != nil || string(got.Serialize()) != string(want.Serialize())):
		c.Errorf("loading returns %s, %v; want %s", got.Serialize(), err, want.Serialize())
	}
}

func (c *checker) keeps() {
	first, second, other := c.tokens("a"), c.tokens("b"), c.tokens("other")
	c.ok(c.store.Create(c.ctx, c.key("k"), first))
	c.ok(c.store.Create(c.ctx, c.key("other"), other))
	c.loads(c.key("k"), first)
	c.ok(c.store.Update(c.ctx, c.key("k"), second))
	c.loads(c.key("k"), second)
	c.loads(c.key("other"), other)
}

func (c *checker) reportsMissingKeys() {
	c.loads(c.key("missing"), latchkey.Tokens{})
	for what, err := range map[string]error{
		"Update": c.store.Update(c.ctx, c.key("missing"), c.tokens("a")),
		"Move":   c.store.Move(c.ctx, c.key("missing"), c.key("to")),
	} {
		if !errors.Is(err, bff.ErrNoSession) {
			c.Errorf("%s of a missing session returns %v; want ErrNoSession", what, err)
		}
	}
	c.ok(c.store.Delete(c.ctx, c.key("missing")))
	c.loads(c.key("missing"), latchkey.Tokens{})
	c.loads(c.key("to"), latchkey.Tokens{})
}

func (c *checker) staysDeleted() {
	c.ok(c.store.Create(c.ctx, c.key("k"), c.tokens("a")))
	c.ok(c.store.Delete(c.ctx, c.key("k")))
	if err := c.store.Update(c.ctx, c.key("k"), c.tokens("b")); !errors.Is(err, bff.ErrNoSession) {
		c.Errorf("Update after Delete returns %v; want ErrNoSession", err)
	}
	c.loads(c.key("k"), latchkey.Tokens{})
}

func (c *checker) moves() {
	c.ok(c.store.Create(c.ctx, c.key("from"), c.tokens("a")))
	c.ok(c.store.Move(c.ctx, c.key("from"), c.key("to")))
	c.loads(c.key("from"), latchkey.Tokens{})
	c.loads(c.key("to"), c.tokens("a"))
	c.ok(c.store.Update(c.ctx, c.key("to"), c.tokens("b")))
	c.loads(c.key("to"), c.tokens("b"))
}

func (c *checker) movesOnce() {
	c.ok(c.store.Create(c.ctx, c.key("from"), c.tokens("a")))
	const n = 16
	var wait sync.WaitGroup
	var moved atomic.Int32
	for i := range n {
		wait.Go(func() {
			err := c.store.Move(c.ctx, c.key("from"), c.key(fmt.Sprint("to", i)))
			if err == nil {
				moved.Add(1)
			} else if !errors.Is(err, bff.ErrNoSession) {
				c.Errorf("a concurrent move returns %v", err)
			}
		})
	}
	wait.Wait()
	found := 0
	for i := range n {
		if _, err := c.store.Load(c.ctx, c.key(fmt.Sprint("to", i))); err == nil {
			found++
		}
	}
	if moved.Load() != 1 || found != 1 {
		c.Errorf("%d of %d concurrent moves succeeded, and %d keys hold the session; want 1 and 1", moved.Load(), n, found)
	}
}

func (c *checker) expires() {
	over := c.tokens("a")
	over.SessionExpiry = time.Now().Add(-time.Second)
	c.ok(c.store.Create(c.ctx, c.key("new"), over))
	c.loads(c.key("new"), latchkey.Tokens{})
	c.ok(c.store.Create(c.ctx, c.key("updated"), c.tokens("b")))
	c.ok(c.store.Update(c.ctx, c.key("updated"), over))
	c.loads(c.key("updated"), latchkey.Tokens{})
}

func (c *checker) reportsOutages() {
	c.ok(c.store.Create(c.ctx, c.key("k"), c.tokens("a")))
	ctx, cancel := context.WithCancel(c.ctx)
	cancel()
	for what, err := range map[string]error{
		"Load":   func() error { _, err := c.store.Load(ctx, c.key("k")); return err }(),
		"Update": c.store.Update(ctx, c.key("k"), c.tokens("a")),
		"Move":   c.store.Move(ctx, c.key("k"), c.key("k2")),
	} {
		if errors.Is(err, bff.ErrNoSession) {
			c.Errorf("%s whose context was canceled returns ErrNoSession, which would sign the user out", what)
		}
	}
}
