package latchkey_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

// fileStore keeps each session in a file that only its owner can read.
type fileStore struct{ folder string }

// Load implements latchkey.Store.
func (s fileStore) Load(_ context.Context, sessionID string) (latchkey.Tokens, error) {
	text, err := os.ReadFile(filepath.Join(s.folder, sessionID))
	if errors.Is(err, os.ErrNotExist) {
		return latchkey.Tokens{}, latchkey.ErrSessionEnded
	}
	if err != nil {
		return latchkey.Tokens{}, err
	}
	return latchkey.ParseTokens(text)
}

// Save implements latchkey.Store.
func (s fileStore) Save(_ context.Context, sessionID string, t latchkey.Tokens) error {
	return os.WriteFile(filepath.Join(s.folder, sessionID), t.Serialize(), 0o600)
}

// A command-line program keeps its session in a file, and continues it when it
// is started again.
func ExampleStore() {
	issuer, ctx := latchkeytest.Start(), context.Background()
	defer issuer.Close()
	folder, err := os.MkdirTemp("", "sessions")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	store := fileStore{folder}

	first, err := latchkey.NewClient(issuer.URL, "web", latchkey.ClientOptions{Store: store})
	if err != nil {
		panic(err)
	}
	session, err := first.CreateSession(ctx, issuer.ClientToken("alice"), latchkey.CreateParams{})
	if err != nil {
		panic(err)
	}

	// After a restart:
	second, err := latchkey.NewClient(issuer.URL, "web", latchkey.ClientOptions{Store: store})
	if err != nil {
		panic(err)
	}
	tokens, err := store.Load(ctx, session.ID())
	if err != nil {
		panic(err)
	}
	restored := second.RestoreSession(tokens, nil)
	fmt.Println(second.RefreshSession(ctx, restored))
	// Output:
	// <nil>
}
