package bff_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/bff"
	"github.com/latchkey/latchkey/sdk/go/bff/storetest"
)

func TestAMemoryStoreIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	m := bff.NewMemoryStore(2, func() time.Time { return now })
	ctx := context.Background()
	create := func(key string) {
		must(t, m.Create(ctx, key, latchkey.Tokens{SessionID: key, SessionExpiry: now.Add(time.Hour)}))
	}
	has := func(key string, want bool) {
		t.Helper()
		got, err := m.Load(ctx, key)
		if (err == nil) != want || err == nil && got.SessionID == "" || err != nil && !errors.Is(err, bff.ErrNoSession) {
			t.Errorf("%s: %v, %v", key, got, err)
		}
	}
	create("a")
	create("b")
	has("a", true) // and used
	create("c")
	has("b", false)
	has("a", true)

	must(t, m.Move(ctx, "a", "d"))
	has("a", false)
	has("d", true)
	if err := m.Move(ctx, "a", "e"); !errors.Is(err, bff.ErrNoSession) {
		t.Errorf("moved %v", err)
	}
	must(t, m.Delete(ctx, "d"))
	must(t, m.Delete(ctx, "d"))
	if err := m.Update(ctx, "d", latchkey.Tokens{}); !errors.Is(err, bff.ErrNoSession) {
		t.Errorf("updated %v", err)
	}
	has("d", false)
	has("c", true)
	now = now.Add(time.Hour)
	has("c", false)
}

// broken is a store that is unreachable.
type broken struct{ bff.Store }

func (broken) Load(context.Context, string) (latchkey.Tokens, error) {
	return latchkey.Tokens{}, errors.New("connection refused")
}

func TestAnUnreachableStoreSignsNobodyOut(t *testing.T) {
	t.Parallel()
	healthy := bff.NewMemoryStore(10, nil)
	w := newTestApp(t, func(o *bff.Options) { o.Store = broken{healthy} })
	w.signIn()
	if a := w.get("/api/orders"); a.StatusCode != 503 || len(a.Cookies()) != 0 {
		t.Errorf("answered %d %v", a.StatusCode, a.Cookies())
	}
	if a := w.send("POST", "/sign-out", nil); a.StatusCode != http.StatusTeapot || len(a.Cookies()) != 0 {
		t.Errorf("signing out answered %d %v", a.StatusCode, a.Cookies())
	}
}

// full is a store that rejects new sessions.
type full struct{ bff.Store }

func (full) Create(context.Context, string, latchkey.Tokens) error {
	return errors.New("the disk is full")
}

func TestASessionThatCannotBeStoredIsRevoked(t *testing.T) {
	t.Parallel()
	w := newTestApp(t, func(o *bff.Options) { o.Store = full{bff.NewMemoryStore(10, nil)} })
	a := w.send("POST", "/sign-in", url.Values{"client_token": {w.issuer.ClientToken("alice")}})
	if a.StatusCode != http.StatusTeapot || len(a.Cookies()) != 0 || w.issuer.RequestCount("/revoke") != 1 {
		t.Errorf("answered %d %v, after %d revocations", a.StatusCode, a.Cookies(), w.issuer.RequestCount("/revoke"))
	}
}

func TestTheMemoryStoreMeetsItsContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) bff.Store { return bff.NewMemoryStore(100, nil) })
}
