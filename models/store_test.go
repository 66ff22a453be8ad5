package models_test

import (
	"crypto/rand"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
)

// Whatever is wrong with the URL, its password stays out of the error.
func TestOpenReportsNoPassword(t *testing.T) {
	for name, c := range map[string]struct {
		url         string
		unavailable bool
	}{
		"another scheme":       {"mysql://latchkey:hunter2@db/latchkey", false},
		"no scheme":            {"hunter2", false},
		"nothing":              {"", false},
		"no path":              {"sqlite:", false},
		"what is no URL":       {"postgres://latchkey:hunter2%@db/latchkey", false},
		"an unknown setting":   {"postgres://latchkey:hunter2@db/latchkey?sslmode=perhaps", false},
		"a server that is not": {"postgres://latchkey:hunter2@127.0.0.1:1/latchkey", true},
		"a folder that is not": {"sqlite:" + filepath.Join(t.TempDir(), "missing", "latchkey.db"), false},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := models.Open(t.Context(), c.url, models.Options{})
			if err == nil || store != nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("opened %v, %v", store != nil, err)
			}
			if errors.Is(err, models.ErrUnavailable) != c.unavailable {
				t.Errorf("it may be tried again: %v, want %v; %v", !c.unavailable, c.unavailable, err)
			}
		})
	}
	t.Run("a user whom the server refuses", func(t *testing.T) {
		u, err := url.Parse(testdb.Postgres(t))
		must(t, err)
		u.User = url.UserPassword("nobody-"+rand.Text(), "hunter2") // even a server that asks for no password refuses him
		if store, err := models.Open(t.Context(), u.String(), models.Options{}); err == nil || store != nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("opened %v, %v", store != nil, err)
		}
	})
}

func TestSQLiteUsesThePathAsItIs(t *testing.T) {
	for _, name := range []string{"latchkey.db", "with space.db", "what?mode=memory", "100%25#.db", "ünïcode.db"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			for _, url := range []string{"sqlite:" + path, "sqlite://" + path} {
				store := open(t, url, models.Options{})
				must(t, store.Migrate(t.Context()))
				must(t, store.Close())
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("the database is elsewhere: %v", err)
			}
		})
	}
}

// Every other connection reads at once what a Store has written.
func TestCommittedWritesAreSeenAtOnce(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		other := w.another(models.Options{})
		row := w.create(w.alice())
		for generation := range uint32(50) {
			_, err := w.RotateSession(t.Context(), w.step(row, generation))
			must(t, err)
			seen, err := other.Session(t.Context(), acme, row.ID)
			must(t, err)
			outside := w.number("SELECT generation FROM sessions")
			if inside := w.read(row.ID).Refresh.Generation; inside != generation+1 || seen.Refresh.Generation != inside || outside != int(inside) {
				t.Fatalf("generation %d is %d to its node, %d to another and %d to a stranger", generation+1, inside, seen.Refresh.Generation, outside)
			}
			must(t, w.AddEvent(t.Context(), row.Event(w.Now(), "test", nil)))
			if n := w.rows()["events"]; n != int(generation)+2 {
				t.Fatalf("a stranger sees %d events, want %d", n, generation+2)
			}
		}
	})
}

func TestACrashLosesNoCommit(t *testing.T) {
	w := newFixture(t, testdb.SQLite(t))
	row := w.create(w.alice())
	w.rotate(row, 0, 5)
	// A copy of the files is what a crash would leave.
	path := strings.TrimPrefix(w.url, "sqlite:")
	left := filepath.Join(t.TempDir(), "left.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + suffix)
		must(t, err)
		must(t, os.WriteFile(left+suffix, content, 0o600))
	}
	after, err := open(t, "sqlite:"+left, models.Options{}).Session(t.Context(), acme, row.ID)
	must(t, err)
	if after.Refresh.Generation != 5 {
		t.Errorf("after the crash the row is at generation %d", after.Refresh.Generation)
	}
}

func TestStoreReportsItsDialect(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		if scheme, _, _ := strings.Cut(url, ":"); open(t, url, models.Options{}).Dialect() != scheme {
			t.Errorf("the dialect of %s is %s", scheme, open(t, url, models.Options{}).Dialect())
		}
	})
}
