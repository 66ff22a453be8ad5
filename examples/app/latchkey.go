package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// defaultPort is the port of `latchkey dev` without flags.
const defaultPort = 8080

// latchkeyServer is a Latchkey in development mode. If the app started it, it has
// its own database.
type latchkeyServer struct {
	issuer string
	folder string // empty: the app did not start it
	run    *exec.Cmd
	ended  chan error
}

// findLatchkey uses the Latchkey in development mode that serves the port, or
// starts one there. Port 0 is the default, or a free port if another program uses
// the default.
func findLatchkey(ctx context.Context, port int, out io.Writer) (*latchkeyServer, error) {
	wanted := cmp.Or(port, defaultPort)
	issuer := issuerAt(wanted)
	if free(wanted) {
		return startLatchkey(ctx, wanted, out)
	}
	if _, err := clientToken(ctx, issuer, "alice", "password"); err == nil { // the request changes nothing
		fmt.Fprintf(out, "Using the running Latchkey at %s.\n", issuer)
		return &latchkeyServer{issuer: issuer}, nil
	}
	if port != 0 {
		return nil, fmt.Errorf("a program other than a Latchkey in development mode uses %s: choose another -latchkey-port", issuer)
	}
	other, err := freePort()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "Another program uses port %d, so Latchkey uses port %d.\n", wanted, other)
	return startLatchkey(ctx, other, out)
}

func issuerAt(port int) string { return "http://localhost:" + strconv.Itoa(port) }

// free reports whether a server can listen on a port.
func free(port int) bool {
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// freePort returns a port on which no program listens at the moment.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// startLatchkey builds a server from this repository and waits until it serves.
func startLatchkey(ctx context.Context, port int, out io.Writer) (*latchkeyServer, error) {
	fmt.Fprintln(out, "Building and starting Latchkey.")
	folder, err := os.MkdirTemp("", "latchkey-app")
	if err != nil {
		return nil, err
	}
	s := &latchkeyServer{issuer: issuerAt(port), folder: folder, ended: make(chan error, 1)}
	if err := s.start(ctx, port); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	fmt.Fprintf(out, "Latchkey is running at %s. Its log is %s.\n", s.issuer, s.log())
	return s, nil
}

func (s *latchkeyServer) start(ctx context.Context, port int) error {
	program := filepath.Join(s.folder, "latchkey")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/latchkey/latchkey/cmd/latchkey")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build latchkey: %w", err)
	}
	s.run = exec.Command(program, "dev", "--data", s.folder, "--listen", "127.0.0.1:"+strconv.Itoa(port))
	s.run.Env = append(os.Environ(), "LATCHKEY_METRICS_LISTEN=none")
	log, err := os.Create(s.log())
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own handle
	s.run.Stderr = log
	if err := s.run.Start(); err != nil {
		return fmt.Errorf("start latchkey: %w", err)
	}
	go func() { s.ended <- s.run.Wait() }()
	return s.ready(ctx)
}

func (s *latchkeyServer) ready(ctx context.Context) error {
	for {
		answer, err := http.Get(s.issuer + "/readyz")
		serves := err == nil && answer.StatusCode == http.StatusOK
		if err == nil {
			answer.Body.Close()
		}
		select {
		case err := <-s.ended:
			s.run = nil
			log, _ := os.ReadFile(s.log())
			return fmt.Errorf("latchkey exited (%w) with the output:\n%s", err, log)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
			if serves {
				return nil
			}
		}
	}
}

// log returns the path of the server's log, which exists while the server runs.
func (s *latchkeyServer) log() string { return filepath.Join(s.folder, "latchkey.log") }

// stop stops a server that the app started, and removes its data.
func (s *latchkeyServer) stop() (err error) {
	if s.folder == "" {
		return nil
	}
	if s.run != nil && s.run.Process != nil {
		err = s.run.Process.Signal(os.Interrupt)
		if ended := <-s.ended; err == nil {
			err = ended
		}
	}
	return errors.Join(err, os.RemoveAll(s.folder))
}
