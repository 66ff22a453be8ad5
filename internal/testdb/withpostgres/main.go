// Command withpostgres runs a command, such as go test, with a private
// PostgreSQL: it starts a cluster, names it in LATCHKEY_TEST_DATABASE_URL, and
// takes it away when the command has ended. It exits as the command did.
//
//	go run ./internal/testdb/withpostgres go test ./...
//
// Where the variable is set already, the command simply runs.
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
	// From here on a signal ends the command, and thereby us.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)

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
			_ = cmd.Process.Signal(s) // it may just have ended
		}
	}()
	err = cmd.Wait()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return exitStatus(exit), nil
	}
	return 0, err
}

// exitStatus is as a shell counts: 128 and the signal for a command that a
// signal ended.
func exitStatus(exit *exec.ExitError) int {
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}
