package testserver

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Tables returns the names of the tables in the database.
func (d *Deployment) Tables() []string {
	d.T.Helper()
	db := OpenDatabase(d.T, d.DatabaseURL)
	defer db.Close()
	return tablesIn(d.T, db, d.DatabaseURL)
}

func tablesIn(t testing.TB, db *sql.DB, url string) (tables []string) {
	t.Helper()
	list := "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
	if strings.HasPrefix(url, "sqlite:") {
		list = "SELECT name FROM sqlite_master WHERE type = 'table'"
	}
	names, err := db.Query(list)
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	for names.Next() {
		var name string
		if err := names.Scan(&name); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, name)
	}
	if err := names.Err(); err != nil {
		t.Fatal(err)
	}
	return tables
}

// Stored returns every row of the database, or of the named tables: one line each,
// sorted, with bytes in hexadecimal.
func (d *Deployment) Stored(tables ...string) string {
	d.T.Helper()
	db := OpenDatabase(d.T, d.DatabaseURL)
	defer db.Close()
	if tables == nil {
		tables = tablesIn(d.T, db, d.DatabaseURL)
	}
	var lines []string
	for _, table := range tables {
		lines = append(lines, d.rows(db, table)...)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// rows returns every row of a table as text.
func (d *Deployment) rows(db *sql.DB, table string) (lines []string) {
	d.T.Helper()
	rows, err := db.Query("SELECT * FROM " + table)
	if err != nil {
		d.T.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		d.T.Fatal(err)
	}
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			d.T.Fatal(err)
		}
		line := table
		for i, value := range values {
			if bytes, ok := value.([]byte); ok {
				value = fmt.Sprintf("%x", bytes)
			}
			line += fmt.Sprintf(" %s=%v", columns[i], value)
		}
		lines = append(lines, line)
	}
	if err := rows.Err(); err != nil {
		d.T.Fatal(err)
	}
	return lines
}

// Written returns the rows of all tables except those of the configuration and leases,
// and except the events of changes of the configuration and of keys.
func (d *Deployment) Written() string {
	d.T.Helper()
	rows := strings.Split(d.Stored("sessions", "users", "spent_tokens", "revoked_tokens", "events"), "\n")
	return strings.Join(slices.DeleteFunc(rows, func(row string) bool {
		return strings.Contains(row, "config_changed") || strings.Contains(row, "key_rotated")
	}), "\n")
}

// WantUnchanged fails t if requests have written anything since Written
// returned before.
func (d *Deployment) WantUnchanged(t *testing.T, before string) {
	t.Helper()
	if after := d.Written(); after != before {
		t.Errorf("stored:\n%s\nbefore:\n%s", after, before)
	}
}

// BackendExchangeForm returns the form with which the client backend, which receives
// every kind of token, exchanges a new client token.
func (d *Deployment) BackendExchangeForm(sub string) []string {
	return []string{"grant_type", GrantTokenExchange, "subject_token_type", TypeJWT, "subject_token", d.Issuer.Token(d.URL, sub, nil)}
}

// Tamper changes rows directly in the database, then makes the node reload its
// configuration.
func (d *Deployment) Tamper(statement string, args ...any) {
	d.T.Helper()
	db := OpenDatabase(d.T, d.DatabaseURL)
	defer db.Close()
	done, err := db.Exec(statement, args...)
	if err != nil {
		d.T.Fatal(err)
	}
	if n, _ := done.RowsAffected(); n == 0 {
		d.T.Fatalf("nothing changed by %s", statement)
	}
	if _, err := db.Exec("UPDATE tenants SET revision = revision + 1"); err != nil {
		d.T.Fatal(err)
	}
	if err := d.OAuth.Refresh(d.T.Context()); err != nil {
		d.T.Fatal(err)
	}
}

// ChainColumns are the columns of a session with the state of its chain.
const ChainColumns = "generation, refresh_digest, next_digest, root_version, rotated_at, last_active_at, idle_expires_at"
