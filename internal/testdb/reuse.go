package testdb

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// A new database costs PostgreSQL a tenth of a second and megabytes of writes.
// Therefore a database that its test has left unchanged, apart from its rows, is
// emptied and reused.

// made describes a database that has just been created from the template.
type made struct {
	fingerprint string
	rows        map[string]string // of each table, as a JSON array
}

// borrowed is a database with the connection that empties it. A new connection would
// cost PostgreSQL more than the work on it.
type borrowed struct {
	name string
	conn *pgx.Conn
}

// idle holds the databases that are ready for another test.
var idle struct {
	sync.Mutex
	databases []*borrowed
}

// fingerprint covers everything except the rows: two databases with the same
// fingerprint do not differ for a test. It includes the sizes of tables, because a
// grown table has other statistics.
const fingerprint = `
SELECT md5(string_agg(line, E'\n' ORDER BY line)) FROM (
	SELECT ROW(c.oid::regclass, c.relkind, c.relowner, c.relacl, c.reloptions, c.relpersistence,
		pg_relation_size(c.oid) > 1048576,
		CASE WHEN c.relkind IN ('i', 'I') THEN pg_get_indexdef(c.oid) WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END)::text AS line
	FROM pg_class c WHERE c.oid >= 16384 AND c.relnamespace <> 'pg_toast'::regnamespace
	UNION ALL SELECT ROW(a.attrelid::regclass, a.attname, a.atttypid::regtype, a.atttypmod, a.attnotnull, a.attacl, a.attoptions, pg_get_expr(d.adbin, d.adrelid))::text
	FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	WHERE a.attrelid >= 16384 AND a.attnum > 0 AND a.attrelid NOT IN (SELECT oid FROM pg_class WHERE relnamespace = 'pg_toast'::regnamespace)
	UNION ALL SELECT ROW(conrelid::regclass, conname, convalidated, pg_get_constraintdef(oid))::text FROM pg_constraint WHERE oid >= 16384
	UNION ALL SELECT ROW(tgrelid::regclass, tgname, tgenabled, pg_get_triggerdef(oid))::text FROM pg_trigger WHERE NOT tgisinternal
	UNION ALL SELECT ROW(tgrelid::regclass, tgenabled, count(*))::text FROM pg_trigger WHERE tgisinternal GROUP BY tgrelid, tgenabled
	UNION ALL SELECT ROW(proname, prosrc, proacl)::text FROM pg_proc WHERE oid >= 16384
	UNION ALL SELECT ROW(nspname, nspowner, nspacl)::text FROM pg_namespace WHERE nspname NOT LIKE 'pg\_%'
	UNION ALL SELECT ROW(defaclobjtype, defaclacl)::text FROM pg_default_acl
	UNION ALL SELECT ROW(extname)::text FROM pg_extension
	UNION ALL SELECT ROW(datdba, datacl, datconnlimit, datallowconn)::text FROM pg_database WHERE datname = current_database()
	UNION ALL SELECT ROW(setrole, setconfig)::text FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS everything`

// look describes an unused database.
func look(ctx context.Context, conn *pgx.Conn) (made, error) {
	m := made{rows: map[string]string{}}
	if err := conn.QueryRow(ctx, fingerprint).Scan(&m.fingerprint); err != nil {
		return m, err
	}
	rows, err := conn.Query(ctx, "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND oid >= 16384 AND relnamespace <> 'pg_toast'::regnamespace")
	if err != nil {
		return m, err
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return m, err
	}
	for _, table := range tables {
		var content string
		if err := conn.QueryRow(ctx, "SELECT coalesce(json_agg(t), '[]') FROM "+table+" t").Scan(&content); err != nil {
			return m, err
		}
		m.rows[table] = content
	}
	return m, nil
}

// restore resets a database to its initial state. It reports false for a database
// that differs in more than its rows, or is still in use.
func (m made) restore(ctx context.Context, conn *pgx.Conn) (bool, error) {
	for deadline := time.Now().Add(200 * time.Millisecond); ; time.Sleep(2 * time.Millisecond) { // closing a connection takes a moment
		var others int
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND application_name <> '"+keptName+"'").Scan(&others); err != nil {
			return false, err
		}
		if others == 0 {
			break
		}
		if time.Now().After(deadline) {
			return false, nil
		}
	}
	var now string
	if err := conn.QueryRow(ctx, fingerprint).Scan(&now); err != nil || now != m.fingerprint {
		return false, err
	}
	batch := &pgx.Batch{}
	batch.Queue("SET session_replication_role = replica") // allows any order of rows
	for table, content := range m.rows {
		batch.Queue("DELETE FROM " + table)
		if content != "[]" {
			batch.Queue("INSERT INTO "+table+" SELECT * FROM json_populate_recordset(NULL::"+table+", $1)", content)
		}
	}
	batch.Queue("SELECT pg_stat_reset()")
	return true, conn.SendBatch(ctx, batch).Close()
}

// lend returns a database made from the template: an idle one if possible, otherwise a
// new one.
func lend(admin string, from template) (*borrowed, error) {
	idle.Lock()
	if n := len(idle.databases); n > 0 {
		ready := idle.databases[n-1]
		idle.databases = idle.databases[:n-1]
		idle.Unlock()
		return ready, nil
	}
	idle.Unlock()
	b := &borrowed{name: templatePrefix + strings.ToLower(rand.Text())}
	if err := claim(b.name); err != nil {
		return nil, err
	}
	if err := createDatabase(admin, b.name, from.name); err != nil {
		return nil, err
	}
	url, err := withDatabase(admin, b.name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	b.conn, err = Connect(ctx, url)
	return b, err
}

// takeBack resets a database for another test, or drops it.
func takeBack(admin string, b *borrowed, m made) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	if restored, err := m.restore(ctx, b.conn); err != nil || !restored { // a test may have cut the connection
		_ = b.conn.Close(ctx)
		return drop(admin, b.name)
	}
	idle.Lock()
	defer idle.Unlock()
	idle.databases = append(idle.databases, b)
	return nil
}

func drop(admin, name string) error {
	return execute(admin, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
}
