package models_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
)

// pretender accepts connections and lets a test answer in place of PostgreSQL.
func pretender(t *testing.T, answer func(c net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.Read(make([]byte, 1024))
				answer(c)
			}()
		}
	}()
	return l.Addr().String()
}

// refusing answers a connection with an error of PostgreSQL's protocol.
func refusing(code, message string) func(c net.Conn) {
	return func(c net.Conn) {
		body := "SFATAL\x00VFATAL\x00C" + code + "\x00M" + message + "\x00\x00"
		size := len(body) + 4
		c.Write(append([]byte{'E', byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}, body...))
	}
}

func TestNoPartOfTheDatabaseURLIsReported(t *testing.T) {
	const user, password, database, host = "marker-user", "marker-password", "marker_database", "marker-host.invalid"
	real, err := url.Parse(testdb.NewProxy(t, testdb.Postgres(t)).URL())
	must(t, err)
	closed := pretender(t, func(net.Conn) {})
	for _, c := range []struct{ name, address, query, want string }{
		{"nobody listens", "127.0.0.1:1", "", "connection refused"},
		{"the host has no address", host + ":54321", "", "host name lookup"},
		{"of two hosts neither answers", "127.0.0.1:1," + host + ":54321", "", "connect: connection refused"},
		{"the server hangs up", closed, "", "cannot connect: "},
		{"the server has no TLS", pretender(t, func(c net.Conn) { c.Write([]byte("N")) }), "sslmode=require", "server refused TLS connection"},
		{"the server speaks something else", pretender(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }), "", "cannot connect: "},
		{"the user is refused", pretender(t, refusing("28P01", `password authentication failed for user "`+user+`"`)), "", `for user "(user)" (SQLSTATE 28P01)`},
		{"no rule lets the user in", pretender(t, refusing("28000", `no pg_hba.conf entry for host "127.0.0.1", user "`+user+`", database "`+database+`", no encryption`)), "", `database "(database)", no encryption (SQLSTATE 28000)`},
		{"a pooler does not know the database", pretender(t, refusing("08P01", "no such database: "+database)), "", "no such database: (database) (SQLSTATE 08P01)"},
		{"a pooler refuses a parameter", pretender(t, refusing("08P01", "unsupported startup parameter: search_path")), "search_path=marker_schema", "ALTER ROLE"},
		{"there are too many connections", pretender(t, refusing("53300", `too many connections for role "`+user+`"`)), "", `for role "(user)" (SQLSTATE 53300)`},
		{"a server that answers", real.Host, "", "SQLSTATE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			text := fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", user, password, c.address, database)
			if c.query != "" {
				text = strings.Replace(text, "?sslmode=disable", "?sslmode=disable&"+c.query, 1)
			}
			if strings.HasPrefix(c.query, "sslmode") {
				text = strings.Replace(text, "sslmode=disable&", "", 1)
			}
			store, err := models.Open(t.Context(), text, models.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
			if err == nil {
				store.Close()
				t.Fatal("it was opened")
			}
			said := err.Error() + log.String()
			hidden := []string{user, password, database, host, "54321", "marker"}
			for address := range strings.SplitSeq(c.address, ",") {
				hidden = append(hidden, address)
			}
			for _, part := range hidden {
				if strings.Contains(said, part) {
					t.Errorf("it reports %q: %s", part, said)
				}
			}
			if !strings.Contains(said, c.want) {
				t.Errorf("it does not report %q but: %s", c.want, said)
			}
		})
	}
}

func TestNoPartOfTheDatabaseURLIsReportedWhenContactIsLost(t *testing.T) {
	var log bytes.Buffer
	through := testdb.NewProxy(t, testdb.Postgres(t))
	store := open(t, through.URL(), models.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	u, err := url.Parse(through.URL())
	must(t, err)
	must(t, store.Ping(t.Context()))
	through.Cut()
	err = store.Ping(t.Context())
	store.Probe(t.Context())
	if said := fmt.Sprint(err) + log.String(); err == nil || !strings.Contains(said, "contact with the database is lost") ||
		strings.Contains(said, u.Host) || strings.Contains(said, u.Path[1:]) || strings.Contains(said, "127.0.0.1") {
		t.Errorf("%v\n%s", err, log.String())
	}
}
