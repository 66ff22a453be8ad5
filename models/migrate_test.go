package models_test

import (
	"sync"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
)

func TestMigrateTwiceChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.create(w.alice())
		before, epoch := w.rows(), w.epoch()
		must(t, w.Migrate(t.Context()))
		must(t, w.another(models.Options{}).Migrate(t.Context()))
		w.wantRows(before)
		if again := w.epoch(); again != epoch || epoch == "" {
			t.Errorf("the database's epoch was %q and is %q", epoch, again)
		}
	})
}

// Nodes of a new deployment start together on an empty database.
func TestMigrateFromManyNodesAtOnce(t *testing.T) {
	testdb.EachEmpty(t, func(t *testing.T, url string) {
		stores := []*models.Store{open(t, url, models.Options{}), open(t, url, models.Options{})}
		if schema, err := stores[0].Schema(t.Context()); err != nil || !schema.Empty {
			t.Errorf("an empty database passes for migrated: %v", err)
		}
		var wg sync.WaitGroup
		for _, store := range stores {
			for range 4 {
				wg.Go(func() {
					if err := store.Migrate(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		store := open(t, url, models.Options{})
		if schema, err := store.Schema(t.Context()); err != nil || len(schema.Missing) > 0 || schema.Empty {
			t.Errorf("migrated: %v, %v", schema, err)
		}
		var twice, epochs int
		must(t, connect(t, url).QueryRow("SELECT (SELECT count(*) - count(DISTINCT id) FROM migrations), (SELECT count(*) FROM settings)").Scan(&twice, &epochs))
		if twice != 0 || epochs != 1 {
			t.Errorf("%d migrations are recorded twice and %d epochs, want none and one", twice, epochs)
		}
	})
}

func (w *fixture) epoch() (epoch string) {
	w.Helper()
	must(w, w.db.QueryRow("SELECT value FROM settings WHERE name = 'epoch'").Scan(&epoch))
	return epoch
}
