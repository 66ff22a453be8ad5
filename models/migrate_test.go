package models_test

import (
	"sync"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
)

func TestMigrateTwiceChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
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
	testdb.Each(t, func(t *testing.T, url string) {
		var wg sync.WaitGroup
		for range 2 {
			store := open(t, url, models.Options{})
			if migrated, err := store.Migrated(t.Context()); migrated {
				t.Errorf("an empty database passes for migrated: %v", err)
			}
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
		if migrated, err := store.Migrated(t.Context()); !migrated || err != nil {
			t.Errorf("migrated: %v, %v", migrated, err)
		}
		var migrations, epochs int
		must(t, connect(t, url).QueryRow("SELECT (SELECT count(*) FROM migrations), (SELECT count(*) FROM settings)").Scan(&migrations, &epochs))
		if migrations != 5 || epochs != 1 {
			t.Errorf("%d migrations and %d epochs are recorded, want both and one", migrations, epochs)
		}
	})
}

func (w *world) epoch() (epoch string) {
	w.Helper()
	must(w, w.db.QueryRow("SELECT value FROM settings WHERE name = 'epoch'").Scan(&epoch))
	return epoch
}
