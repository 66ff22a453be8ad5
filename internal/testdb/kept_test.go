package testdb

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// keepers are the two ways to get kept sessions.
var keepers = map[string]pgconn.DialFunc{"in this process": Dial, "through a socket": nil}

// keptCluster is a cluster for the tests of keepers, because the shared one may have
// no keeper.
var keptCluster = sync.OnceValues(func() (string, error) {
	url, _, err := Share()
	return url, err
})

// eachKeeper runs test for each way, with the URL of a cluster with a keeper and the
// function that connects to it.
func eachKeeper(t *testing.T, test func(t *testing.T, url string, connect func(t *testing.T, url string) (*pgx.Conn, error))) {
	t.Helper()
	url, err := keptCluster()
	if err != nil {
		t.Fatal(err)
	}
	for name, dial := range keepers {
		t.Run(name, func(t *testing.T) {
			test(t, url, func(t *testing.T, url string) (*pgx.Conn, error) {
				cfg, err := pgx.ParseConfig(url)
				if err != nil {
					t.Fatal(err)
				}
				if dial != nil {
					cfg.DialFunc = dial
				}
				conn, err := pgx.ConnectConfig(t.Context(), cfg)
				if err == nil {
					t.Cleanup(func() { _ = conn.Close(context.Background()) }) // it may be closed
				}
				return conn, err
			})
		})
	}
}

// process runs statements in a session, closes it, and returns its server process.
func process(t *testing.T, conn *pgx.Conn, err error, statements ...string) uint32 {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return conn.PgConn().PID()
}

func TestAKeptSessionHasNoStateOfItsClient(t *testing.T) {
	eachKeeper(t, func(t *testing.T, url string, connect func(*testing.T, string) (*pgx.Conn, error)) {
		conn, err := connect(t, url)
		before := process(t, conn, err, "SET search_path = elsewhere",
			"CREATE TEMP TABLE mine (n int)", "SELECT pg_advisory_lock(7)", "LISTEN me", "PREPARE p AS SELECT 1",
			"DECLARE c CURSOR WITH HOLD FOR SELECT 1", "SET application_name = 'mine'", "SET default_transaction_read_only = on")
		eventually(t, "kept", func() bool { conn, err = connect(t, url); return err == nil && conn.PgConn().PID() == before })
		var left string
		if err := conn.QueryRow(t.Context(), `SELECT concat_ws(' ', (SELECT count(*) FROM pg_prepared_statements WHERE name = 'p'), (SELECT count(*) FROM pg_cursors WHERE name = 'c'),
			(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), (SELECT count(*) FROM pg_listening_channels()),
			to_regclass('mine') IS NULL, current_setting('search_path'), current_setting('default_transaction_read_only'), '[' || current_setting('application_name') || ']')`).Scan(&left); err != nil {
			t.Fatal(err)
		}
		if want := `0 0 0 0 t "$user", public off []`; left != want {
			t.Errorf("it has %s of its client, want %s", left, want)
		}
	})
}

// A session reports its statistics when it ends, and some tests read them.
func TestAKeptSessionHasReportedItsStatistics(t *testing.T) {
	eachKeeper(t, func(t *testing.T, url string, connect func(*testing.T, string) (*pgx.Conn, error)) {
		conn, err := connect(t, url)
		process(t, conn, err, "DROP TABLE IF EXISTS counted", "CREATE TABLE counted (n int)")
		conn, err = connect(t, url)
		before := process(t, conn, err, "INSERT INTO counted VALUES (1)", "INSERT INTO counted VALUES (2)")
		eventually(t, "kept", func() bool { conn, err = connect(t, url); return err == nil && conn.PgConn().PID() == before })
		var n int
		if err := conn.QueryRow(t.Context(), "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'counted'").Scan(&n); n != 2 || err != nil {
			t.Errorf("%d rows were counted, %v; want 2", n, err)
		}
	})
}

func TestASessionInAnUnknownStateIsNotKept(t *testing.T) {
	eachKeeper(t, func(t *testing.T, url string, connect func(*testing.T, string) (*pgx.Conn, error)) {
		for name, use := range map[string]func(conn *pgx.Conn) error{
			"in a transaction":        func(conn *pgx.Conn) error { _, err := conn.Exec(t.Context(), "BEGIN"); return err },
			"in a failed transaction": func(conn *pgx.Conn) error { _, _ = conn.Exec(t.Context(), "BEGIN; SELECT 1/0"); return nil },
			"cut off":                 func(conn *pgx.Conn) error { return conn.PgConn().Conn().Close() },
			"with an answer on its way": func(conn *pgx.Conn) error {
				_, err := conn.PgConn().Conn().Write(encoded('Q', []byte("SELECT pg_sleep(0.5)\x00")))
				return err
			},
			"with half a message": func(conn *pgx.Conn) error {
				_, err := conn.PgConn().Conn().Write([]byte("Q\x00\x00"))
				return err
			},
			"canceled": func(conn *pgx.Conn) error { return conn.PgConn().CancelRequest(t.Context()) },
			"ended by another": func(conn *pgx.Conn) error {
				other, err := connect(t, url)
				if err == nil {
					_, err = other.Exec(t.Context(), "SELECT pg_terminate_backend($1)", conn.PgConn().PID())
				}
				return err
			},
		} {
			t.Run(name, func(t *testing.T) {
				conn, err := connect(t, url)
				if err != nil {
					t.Fatal(err)
				}
				before := conn.PgConn().PID()
				if err := use(conn); err != nil {
					t.Fatal(err)
				}
				_ = conn.Close(t.Context()) // it may be broken
				eventually(t, "the end of the session", func() bool {
					other, err := connect(t, url)
					var n int
					if err == nil {
						err = other.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE pid = $1", before).Scan(&n)
					}
					if err != nil {
						t.Fatal(err)
					}
					return n == 0
				})
			})
		}
	})
}

// A session applies the settings of its database when it begins.
func TestASessionOfADatabaseWithSettingsIsNotKept(t *testing.T) {
	eachKeeper(t, func(t *testing.T, url string, connect func(*testing.T, string) (*pgx.Conn, error)) {
		setting := func() (value string) {
			t.Helper()
			conn, err := connect(t, url)
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.QueryRow(t.Context(), "SELECT current_setting('lock_timeout')").Scan(&value); err != nil {
				t.Fatal(err)
			}
			process(t, conn, nil)
			return value
		}
		change := func(statement string) {
			t.Helper()
			conn, err := connect(t, url)
			process(t, conn, err, statement)
		}
		for range 2 {
			if value := setting(); value != "0" {
				t.Errorf("before: %s", value)
			}
			change("ALTER DATABASE postgres SET lock_timeout = 9")
			if value := setting(); value != "9ms" {
				t.Errorf("with a setting: %s", value)
			}
			change("ALTER DATABASE postgres RESET lock_timeout")
		}
	})
}

func TestAKeeperRequiresThePassword(t *testing.T) {
	eachKeeper(t, func(t *testing.T, url string, connect func(*testing.T, string) (*pgx.Conn, error)) {
		conn, err := connect(t, url)
		process(t, conn, err)
		wrong := strings.Replace(url, conn.Config().Password, "wrong", 1)
		if _, err := connect(t, wrong); err == nil || !strings.Contains(err.Error(), "password authentication failed") {
			t.Errorf("with a wrong password: %v", err)
		}
		if _, err := connect(t, strings.Replace(url, "/postgres?", "/nothing?", 1)); err == nil || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("to no database: %v", err)
		}
	})
}

// The server's limits on a test's own role still apply.
func TestSessionsOfOtherRolesAreNotKept(t *testing.T) {
	eachKeeper(t, func(t *testing.T, url string, connect func(*testing.T, string) (*pgx.Conn, error)) {
		conn, err := connect(t, url)
		process(t, conn, err, "DROP ROLE IF EXISTS app", "CREATE ROLE app LOGIN PASSWORD 'secret'")
		as := strings.Replace(url, superuser+":"+conn.Config().Password, "app:secret", 1)
		conn, err = connect(t, as)
		before := process(t, conn, err)
		conn, err = connect(t, as)
		if after := process(t, conn, err); after == before {
			t.Error("it was kept")
		}
	})
}

func TestCancellingReachesTheServer(t *testing.T) {
	eachKeeper(t, func(t *testing.T, url string, connect func(*testing.T, string) (*pgx.Conn, error)) {
		conn, err := connect(t, url)
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error)
		go func() {
			_, err := conn.Exec(t.Context(), "SELECT pg_sleep(3600)")
			failed <- err
		}()
		for {
			if err := conn.PgConn().CancelRequest(t.Context()); err != nil {
				t.Error(err)
			}
			select {
			case err := <-failed:
				if err == nil || !strings.Contains(err.Error(), "57014") {
					t.Errorf("it ended with %v", err)
				}
				return
			case <-time.After(10 * time.Millisecond): // the statement had not begun yet
			}
		}
	})
}

func TestTheNumberOfKeptSessionsIsBounded(t *testing.T) {
	url, err := keptCluster()
	if err != nil {
		t.Fatal(err)
	}
	conns := make([]*pgx.Conn, maxKept+5)
	for i := range conns {
		if conns[i], err = connect(t, url); err != nil {
			t.Fatal(err)
		}
	}
	for _, conn := range conns {
		process(t, conn, nil)
	}
	var n int
	if n = query(t, url, "SELECT count(*) FROM pg_stat_activity WHERE application_name = '"+keptName+"'"); n >= maxKept {
		t.Errorf("beside one in use there are %d", n)
	}
}

func TestSplitFramesAreParsed(t *testing.T) {
	stream := []byte("Q\x00\x00\x00\x0dSELECT 1\x00S\x00\x00\x00\x04Z\x00\x00\x00\x05TX\x00\x00\x00\x04")
	for size := 1; size <= len(stream); size++ {
		var f frames
		var goodbyes int
		for rest := stream; len(rest) > 0; {
			n := min(size, len(rest))
			if f.pass(rest[:n]) {
				goodbyes++
			}
			rest = rest[n:]
		}
		if f.asked != 2 || f.ready != 1 || f.status != 'T' || goodbyes != 1 || !f.whole() {
			t.Errorf("in pieces of %d: %+v, %d goodbyes", size, f, goodbyes)
		}
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitTimeout); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still waiting: %s", what)
		}
	}
}
