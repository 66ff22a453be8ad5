package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// latchkeyServer is a Latchkey in development mode, with a database of its own.
type latchkeyServer struct {
	issuer string
	folder string
	run    *exec.Cmd
	ended  chan error
}

// startLatchkey builds a server from this repository and waits until it serves.
func startLatchkey(ctx context.Context, port int) (*latchkeyServer, error) {
	free, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return nil, fmt.Errorf("%w: what runs there may be another Latchkey; choose another -latchkey-port, or use it by -issuer if it is in development mode", err)
	}
	free.Close()
	folder, err := os.MkdirTemp("", "latchkey-app")
	if err != nil {
		return nil, err
	}
	s := &latchkeyServer{issuer: "http://localhost:" + strconv.Itoa(port), folder: folder, ended: make(chan error, 1)}
	if err := s.start(ctx, port); err != nil {
		return nil, errors.Join(err, s.stop())
	}
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
	defer log.Close() // the process has its own
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
			return fmt.Errorf("latchkey ended (%w) and said:\n%s", err, log)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
			if serves {
				return nil
			}
		}
	}
}

// log is where the server's log is, for as long as it runs.
func (s *latchkeyServer) log() string { return filepath.Join(s.folder, "latchkey.log") }

// stop ends the server and forgets what it kept.
func (s *latchkeyServer) stop() (err error) {
	if s.run != nil && s.run.Process != nil {
		err = s.run.Process.Signal(os.Interrupt)
		if ended := <-s.ended; err == nil {
			err = ended
		}
	}
	return errors.Join(err, os.RemoveAll(s.folder))
}
