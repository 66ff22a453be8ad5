// Package schema makes testdb use the real schema. Import it for this side effect. It is
// a separate package because the tests of models use testdb, which therefore cannot
// import models.
package schema

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
)

func init() { testdb.UseSchema(migrate) }

// migrate omits the epoch, which identifies one database: every copy gets its own epoch
// when a server migrates it again.
func migrate(url string) error {
	ctx := context.Background()
	store, err := models.Open(ctx, url, models.Options{})
	if err != nil {
		return err
	}
	if err := errors.Join(store.Migrate(ctx), store.Close()); err != nil {
		return err
	}
	driver, name := "pgx", url // registered by models
	if file, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, name = "sqlite", file
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "DELETE FROM settings WHERE name = 'epoch'")
	return errors.Join(err, db.Close())
}
