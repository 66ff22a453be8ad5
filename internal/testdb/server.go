package testdb

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	superuser  = "postgres"
	serverPort = "5432" // in the name of its socket
)

// server is a private PostgreSQL cluster in a temporary folder. It listens on a Unix
// socket in that folder, so it needs no free port, and no other process can take its
// address while it is stopped.
type server struct {
	folder   string
	bin      string
	password string
	owner    *owner
	durable  bool // a commit waits for the disk

	guard     *exec.Cmd
	guardPipe io.Closer // the guard acts when this is closed, by close or by the end of this process

	postmaster *exec.Cmd
	exited     chan struct{} // closed when the postmaster has exited
}

// guardScript outlives this process by a moment. Its standard input is a pipe from
// this process, so it notices every end of this process, even kill -9. Signals of the
// terminal do not reach it. It then stops its process group, which is the server, and
// removes the folder.
const guardScript = `
trap '' HUP INT QUIT TERM
cat >/dev/null
kill -QUIT 0
n=0
while [ -e "$1/data/postmaster.pid" ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
rm -rf "$1"
`

// newServer creates a cluster and starts it.
func newServer(durable bool) (*server, error) {
	return startServer(&server{password: rand.Text(), durable: durable}, (*server).initialize)
}

// newStandby copies a running primary and starts the copy as its standby.
func newStandby(of *server) (*server, error) {
	return startServer(&server{password: of.password, durable: of.durable}, of.copyTo)
}

func startServer(s *server, initialize func(*server) error) (_ *server, err error) {
	if !supported {
		return nil, fmt.Errorf("set %s: this system cannot run a private PostgreSQL", EnvURL)
	}
	if s.owner, err = newOwner(); err != nil {
		return nil, err
	}
	if s.folder, err = os.MkdirTemp(temporary(), "latchkey-pg-"); err != nil {
		return nil, err
	}
	if err = s.owner.own(s.folder); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.folder))
	}
	if err = s.startGuard(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.folder))
	}
	if err = initialize(s); err == nil {
		err = s.start()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// temporary returns a folder that the server's user can reach, with a name short
// enough for a socket path of at most a hundred bytes.
func temporary() string {
	if folder := os.TempDir(); folder == InMemory() || os.Geteuid() != 0 && len(folder) <= 60 {
		return folder
	}
	return "/tmp"
}

func (s *server) startGuard() error {
	s.guard = exec.Command("/bin/sh", "-c", guardScript, "guard", s.folder)
	s.guard.Dir = "/"
	s.guard.SysProcAttr = (*owner)(nil).attributes(0) // what it removes is not all the server's
	pipe, err := s.guard.StdinPipe()
	if err != nil {
		return err
	}
	s.guardPipe = pipe
	if err := s.guard.Start(); err != nil {
		return err
	}
	servers.Store(s, nil)
	return nil
}

// servers references every server, so that the garbage collector does not close the
// guardPipe of a server of which only the URL is in use.
var servers sync.Map

// initialize creates the cluster. Connections require a password, because a Proxy
// exposes the cluster on a loopback port that other users of the machine can reach.
func (s *server) initialize() (err error) {
	var found bool
	if s.bin, found = installed(); !found {
		if s.bin, err = fetched(s.folder); err != nil {
			return err
		}
	}
	secret := filepath.Join(s.folder, "password")
	if err := os.WriteFile(secret, []byte(s.password), 0o600); err != nil {
		return err
	}
	if err := s.owner.own(secret); err != nil {
		return err
	}
	initdb := s.command("initdb", "--pgdata", s.data(), "--username", superuser, "--pwfile", secret,
		"--auth", "password", "--encoding", "UTF8", "--locale", "C",
		"--no-sync") // a cluster is not used after a power failure
	if output, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, output)
	}
	return nil
}

// copyTo copies this server's data to the standby.
func (s *server) copyTo(standby *server) error {
	standby.bin = s.bin
	backup := standby.command("pg_basebackup", "--dbname", s.url(), "--pgdata", standby.data(), "--write-recovery-conf",
		"--checkpoint=fast", "--no-sync")
	if output, err := backup.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w\n%s", err, output)
	}
	return nil
}

func (s *server) start() error {
	if s.running() {
		return errors.New("start postgres: it is already running")
	}
	logFile, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	args := []string{"-D", s.data(), "-k", s.folder, "-p", serverPort,
		"-c", "listen_addresses=", "-c", "shared_buffers=32MB", "-c", "max_connections=500",
		"-c", "timezone=UTC", "-c", "log_line_prefix=%m [%p] %d "}
	if !s.durable {
		// Without vacuum workers, each of which costs as much as a session: no
		// database lives long enough to need one.
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum=off", "-c", "max_wal_size=4GB")
	}
	s.postmaster = s.command("postgres", args...)
	s.postmaster.Stdout, s.postmaster.Stderr = logFile, logFile
	if err := s.postmaster.Start(); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	exited := make(chan struct{})
	s.exited = exited
	go func(postmaster *exec.Cmd) {
		_ = postmaster.Wait() // how it ended is in its log
		close(exited)
	}(s.postmaster)
	return s.waitUntilReady()
}

func (s *server) waitUntilReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.url())
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.exited:
			return fmt.Errorf("postgres did not start:\n%s", s.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("postgres is not ready after %v: %w\n%s", waitTimeout, err, s.lastWords())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *server) running() bool {
	if s.postmaster == nil {
		return false
	}
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// stop signals the postmaster and waits until it has exited. It does nothing if the
// server is not running.
func (s *server) stop(signal os.Signal) error {
	if err := s.postmaster.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop postgres: %w", err)
	}
	select {
	case <-s.exited:
		return nil
	case <-time.After(waitTimeout):
		return fmt.Errorf("postgres is still running %v after it was stopped:\n%s", waitTimeout, s.lastWords())
	}
}

// close stops the server if it is running, and removes its folder.
func (s *server) close() {
	_ = s.guardPipe.Close() // closing twice changes nothing
	_ = s.guard.Wait()      // a failed guard needs no handling
	servers.Delete(s)
}

// url returns the URL of the cluster's own database, for its superuser.
func (s *server) url() string { return s.urlAt(serverPort) }

func (s *server) urlAt(port string) string {
	return (&url.URL{Scheme: "postgres", User: url.UserPassword(superuser, s.password), Path: "/postgres",
		RawQuery: url.Values{"host": {s.folder}, "port": {port}, "sslmode": {"disable"}}.Encode()}).String()
}

func (s *server) data() string { return filepath.Join(s.folder, "data") }
func (s *server) log() string  { return filepath.Join(s.folder, "log") }

func (s *server) lastWords() string {
	text, _ := os.ReadFile(s.log()) // without a log the error has less detail
	return string(text[max(0, len(text)-2000):])
}

// command runs a program of PostgreSQL in the guard's group. Variables such as
// PGDATA and PGPORT, which a developer may have set, are not for it.
func (s *server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.folder
	cmd.SysProcAttr = s.owner.attributes(s.guard.Process.Pid)
	cmd.Env = []string{"LC_ALL=C"}
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "PG") && !strings.HasPrefix(variable, "LC_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	return cmd
}

// The signals by which a postmaster is stopped.
const (
	stopFast      = syscall.SIGINT
	stopImmediate = syscall.SIGQUIT
)
