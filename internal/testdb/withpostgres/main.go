// Command withpostgres runs a command, such as go test, with a private PostgreSQL: it
// starts a cluster, sets LATCHKEY_TEST_DATABASE_URL, and removes the cluster when the
// command has exited. Its exit code is that of the command.
// Where it can, it keeps the cluster and temporary files in memory.
//
//	go run ./internal/testdb/withpostgres go test ./...
//
// If the variable is already set, it only runs the command.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/latchkey/latchkey/internal/testdb"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: withpostgres COMMAND [ARGUMENT...]")
		os.Exit(2)
	}
	status, err := run(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "withpostgres:", err)
		os.Exit(1)
	}
	os.Exit(status)
}

func run(name string, args []string) (status int, err error) {
	// From here on a signal ends the command, and thereby this process.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)

	if err := useMemory(); err != nil {
		return 0, err
	}
	if os.Getenv(testdb.EnvURL) == "" {
		url, stop, err := testdb.Share()
		if err != nil {
			return 0, err
		}
		defer stop()
		if err := os.Setenv(testdb.EnvURL, url); err != nil {
			return 0, err
		}
	}
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // it may just have exited
		}
	}()
	err = cmd.Wait()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return exitStatus(exit), nil
	}
	return 0, err
}

// useMemory keeps temporary files in memory, unless TMPDIR is set. Those of the go
// command stay where they are: its binaries are large.
func useMemory() error {
	memory, disk := testdb.InMemory(), os.TempDir()
	if memory == "" || os.Getenv("TMPDIR") != "" {
		return nil
	}
	if os.Getenv("GOTMPDIR") == "" {
		if err := os.Setenv("GOTMPDIR", disk); err != nil {
			return err
		}
	}
	return os.Setenv("TMPDIR", memory)
}

// exitStatus returns the exit status as a shell does: 128 plus the signal for a command
// that a signal has ended.
func exitStatus(exit *exec.ExitError) int {
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}
