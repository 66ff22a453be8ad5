package oauth

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/keys"
)

// Root secrets of these tests.
const (
	rootA = "the first root secret of these tests"
	rootB = "the other root secret of these tests"
)

// epoch is the time of these tests.
var epoch = time.Unix(1_790_000_000, 0).UTC()

// keysOf derives the keys of root secrets, of which the first one issues.
func keysOf(t testing.TB, roots ...string) *keys.Roots {
	t.Helper()
	k, err := keys.NewRoots(roots)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// factsOf returns what a server with the given keys finds about a row and a token.
func factsOf(t *testing.T, k *keys.Roots, row *models.Session, presented keys.Handle) (successorIsCurrent bool, answer string) {
	t.Helper()
	store, err := models.Open(context.Background(), "sqlite:"+filepath.Join(t.TempDir(), "db"), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	client := &Client{Client: models.Client{TenantID: "default", ID: "web"}, tenant: &Tenant{}}
	s := New(Config{Store: store, Keys: k})
	facts, successor, err := s.facts(context.Background(), &Call{Tenant: client.tenant}, client, row, presented)
	if err != nil {
		t.Fatal(err)
	}
	return facts.SuccessorIsCurrent, k.Encode("default", successor)
}

func TestRetryAfterAChangeOfRootReturnsTheSameBytes(t *testing.T) {
	onlyA, firstA, firstB := keysOf(t, rootA), keysOf(t, rootA, rootB), keysOf(t, rootB, rootA)
	for _, c := range []struct {
		name          string
		before, after *keys.Roots // the keys that rotated, and those at the retry
	}{
		{"with the same roots", onlyA, onlyA},
		{"when another root has been added", onlyA, firstA},
		{"when another root issues", firstA, firstB},
		{"when the first root issues again", firstB, firstA},
	} {
		t.Run(c.name, func(t *testing.T) {
			presented := onlyA.NewHandle(keys.RefreshToken, models.NewSessionID())
			next := c.before.Successor("default", presented)
			row := &models.Session{
				History: new(models.History), ID: presented.Session, TenantID: "default", ClientID: "web", CreatedAt: time.Unix(1, 0), AbsoluteExpiry: time.Unix(2, 0),
				Refresh: c.before.Chain("default", next),
			}
			isCurrent, answer := factsOf(t, c.after, row, presented)
			if !isCurrent {
				t.Error("the successor is not recognized: a retry would look like theft")
			}
			if want := c.before.Encode("default", next); answer != want {
				t.Errorf("the retry returned\n%s, the rotation\n%s", answer, want)
			}
			if c.after.Classify(row, next) != keys.Current {
				t.Error("the successor cannot be used")
			}
		})
	}
}
