package models

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"
)

// Migrations run in this order and are never edited once released; each is safe
// while the previous release still runs. {bytes} and {fill} are replaced by
// what differs between the engines, as are {bytewise} and {if new}; {now} by the
// time of the migration.
var migrations = []struct {
	id         string
	statements []string
}{
	{"0001_init", initSchema},
	{"0002_removal", removalSchema},
	{"0003_revocations", revocationSchema},
	{"0004_assurance", assuranceSchema},
	{"0005_status_lists", statusSchema},
	{"0006_late_retry", lateRetrySchema},
	{"0007_sparse_settings", sparseSchema},
	{"0008_suspensions", suspensionSchema},
	{"0008b_attribute_sources", attributeSourceSchema},
	{"0008c_user_deletions", userDeletionSchema},
	{"0009_step_up_handles", stepUpSchema},
	{"0010_assurance", proofSchema},
	{"0013_session_counts", sessionCountSchema},
	{"0014_user_retention", userRetentionSchema},
	{"0015_superseded", supersededSchema},
	{"0016_suspension_names", suspensionNameSchema},
	{"0017_admin_keys", adminKeySchema},
	{"0018_search", searchSchema},
	{"0019_stats", statSchema},
	{"0020_attribute_search", attributeSearchSchema},
	{"0021_event_retention", eventRetentionSchema},
	{"0022_client_session_counts", clientCountSchema},
	{"0023_event_destinations", destinationSchema},
	{"0024_upstream_revocation", upstreamSchema},
	{"0025_console", consoleSchema},
	{"0026_deliveries", deliverySchema},
	{"0027_nodes", nodeSchema},
	{"0028_pages", pageSchema},
}

// Migrate brings the schema up to date. Nodes that migrate at the same time
// conflict over locks or tables; the loser finds the work done when it tries
// again.
func (s *Store) Migrate(ctx context.Context) error {
	if _, err := s.Schema(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if err := s.buildIndexes(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	const attempts = 16 // 6 s in all: many nodes may start at once on a busy machine
	var err error
	for attempt := range attempts {
		err = s.longTransaction(ctx, func(tx *gorm.DB) error { return s.migrator(tx).Migrate() })
		if err == nil {
			if err := s.ensureEpoch(ctx); err != nil {
				return err
			}
			return s.upgradeRows(ctx)
		}
		if errors.Is(err, ErrUnavailable) || errors.Is(err, errForbidden) || ctx.Err() != nil {
			break
		}
		select {
		case <-time.After(time.Duration(attempt+1) * 50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	if errors.Is(err, errForbidden) {
		err = fmt.Errorf("%w: the role of database.url must be allowed to create tables; as the owner of the database, run %s", err, grantSchema)
	}
	return fmt.Errorf("migrate: %w", err)
}

// buildIndexes builds the indexes of searchSchema, upstreamSchema and pageSchema on tables
// that have rows, without locking them as the migration itself would. On SQLite, which a single process
// uses, the migration does.
func (s *Store) buildIndexes(ctx context.Context) error {
	if s.dialect.name != postgresDialect.name {
		return nil
	}
	build := func() error {
		db := s.write.WithContext(ctx) // without a time limit, and outside a transaction
		var tables int
		if err := db.Raw("SELECT count(*) FROM pg_class WHERE oid = to_regclass('sessions') OR oid = to_regclass('events')").Row().Scan(&tables); err != nil || tables < 2 {
			return err
		}
		if err := db.Exec("ALTER TABLE sessions ADD COLUMN IF NOT EXISTS upstream_sid TEXT").Error; err != nil {
			return err
		}
		for _, statement := range append(slices.Clone(searchSchema), upstreamIndex, userSessionsIndex) {
			name := strings.Fields(statement)[5]
			var valid []bool
			if err := db.Raw("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(?)", name).Scan(&valid).Error; err != nil {
				return err
			}
			switch {
			case len(valid) > 0 && valid[0]:
				continue
			case len(valid) > 0: // an earlier attempt was interrupted
				if err := db.Exec("DROP INDEX CONCURRENTLY IF EXISTS " + name).Error; err != nil {
					return err
				}
			}
			if err := db.Exec(strings.Replace(s.dialect.render(statement, s.Now()), "CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1)).Error; err != nil {
				return err
			}
		}
		return nil
	}
	return s.retry(ctx, writing, isUnsent, build)
}

// grantSchema is what to do if the role may not create tables: since PostgreSQL
// 15, only the owner of a database may create tables in its schema public.
const grantSchema = `"GRANT USAGE, CREATE ON SCHEMA public TO the_role", or give the role a schema of its own: ` + ownSchema

// migrator works in a transaction that the caller begins, because gormigrate
// panics if it cannot begin its own.
func (s *Store) migrator(tx *gorm.DB) *gormigrate.Gormigrate {
	opts := &gormigrate.Options{TableName: "migrations", IDColumnName: "id", IDColumnSize: 255}
	list := make([]*gormigrate.Migration, len(migrations))
	for i, m := range migrations {
		list[i] = &gormigrate.Migration{ID: m.id, Migrate: func(tx *gorm.DB) error {
			for _, statement := range m.statements {
				if err := tx.Exec(s.dialect.render(statement, s.Now())).Error; err != nil {
					return fmt.Errorf("%s: %w", m.id, err)
				}
			}
			return nil
		}}
	}
	return gormigrate.New(tx, opts, list)
}

func (d dialect) render(statement string, now time.Time) string {
	return strings.NewReplacer("{if new}", d.ifNew, "{bytes}", d.bytesType, "{fill}", d.fill, "{now}", strconv.FormatInt(now.UnixMicro(), 10), "{bytewise}", d.bytewise).Replace(statement)
}

// ensureEpoch gives a new database its epoch, by which readers of the event log
// notice that the database was replaced.
func (s *Store) ensureEpoch(ctx context.Context) error {
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec("INSERT INTO settings (name, value) VALUES ('epoch', ?) ON CONFLICT DO NOTHING", rand.Text()).Error
	})
}
