package testops

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

// newBouncer runs Debian's PgBouncer in front of a database, in transaction mode,
// and returns the URL through it.
func newBouncer(t *testing.T, database string, settings ...string) string {
	t.Helper()
	program := installed(t, "pgbouncer")
	behind, err := url.Parse(database)
	must(t, err)
	folder := t.TempDir()
	must(t, os.Chmod(filepath.Dir(folder), 0o755)) // PgBouncer does not run as root
	if os.Geteuid() == 0 {
		settings = append(settings, "user = postgres")
	}
	port := text(freePort(t))
	connection := fmt.Sprintf("host=%s port=%s dbname=%s user=%s", firstNonEmpty(behind.Query().Get("host"), behind.Hostname()),
		firstNonEmpty(firstNonEmpty(behind.Query().Get("port"), behind.Port()), "5432"), strings.Trim(behind.Path, "/"), behind.User.Username())
	if password, given := behind.User.Password(); given && password != "" {
		connection += " password=" + password
	}
	write(t, filepath.Join(folder, "users"), `"app" "secret"`+"\n")
	write(t, filepath.Join(folder, "pgbouncer.ini"), fmt.Sprintf(`[databases]
latchkey = %s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = plain
auth_file = %s
pool_mode = transaction
%s
`, connection, port, filepath.Join(folder, "users"), strings.Join(settings, "\n")))
	cmd := exec.Command(program, filepath.Join(folder, "pgbouncer.ini"))
	run(t, cmd)
	u := "postgres://app:secret@127.0.0.1:" + port + "/latchkey?sslmode=disable"
	untilListening(t, port)
	return u
}

// The log has a line for each response 500; here it must have none.
func TestPgBouncerInTransactionModeNeedsNoSetting(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: newBouncer(t, testdb.Postgres(t))})
	if log := d.Log.String(); !strings.Contains(log, "database.prepared_statements: false") {
		t.Error("the log does not name the setting")
	}
	tokens := make([]string, 8)
	for i := range tokens {
		tokens[i] = d.SignIn(fmt.Sprint("user-", i)).Text("refresh_token")
	}
	for range 4 {
		for i, a := range testserver.InParallel(len(tokens), func(i int) *testserver.Answer { return d.Refresh("", "web", tokens[i]) }) {
			d.Want(200, "", a)
			d.Want(200, "", d.Introspect("", a.Text("access_token")))
			tokens[i] = a.Text("refresh_token")
		}
	}
	if log := d.Log.String(); strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("errors are logged:\n%s", log)
	}
}

func TestPgBouncerErrorAboutSearchPathSuggestsAFix(t *testing.T) {
	u := newBouncer(t, testdb.Postgres(t)) + "&search_path=latchkey"
	_, err := models.Open(t.Context(), u, models.Options{})
	if err == nil || !strings.Contains(err.Error(), "ALTER ROLE") {
		t.Errorf("returned %v", err)
	}
}

func firstNonEmpty(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func installed(t *testing.T, program string) string {
	t.Helper()
	for _, folder := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin") {
		if path, err := exec.LookPath(filepath.Join(folder, program)); err == nil {
			return path
		}
	}
	t.Fatalf("this test needs %s: apt-get install %s", program, program)
	return ""
}

func untilListening(t *testing.T, port string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

// run starts a program that ends with the test.
func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", cmd.Path, said.String())
		}
	})
}
