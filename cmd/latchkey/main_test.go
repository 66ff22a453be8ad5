package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// asCommand makes the test binary run as the command, so that the tests run the code
// as it was compiled, with the race detector.
const asCommand = "LATCHKEY_TEST_AS_COMMAND"

// ownStdin, in the environment of a command, leaves standard input to the command.
const ownStdin = "LATCHKEY_TEST_OWN_STDIN"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) == "" {
		code := m.Run()
		if built.folder != "" {
			os.RemoveAll(built.folder)
		}
		os.Exit(code)
	}
	if os.Getenv(ownStdin) != "" {
		main()
		os.Exit(0)
	}
	go func() {
		// Only the test holds the other end, so this process ends when the test does,
		// however that ends.
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	main()
	os.Exit(0)
}

// built is the path of the command without the race detector.
var built struct {
	sync.Once
	folder string
	err    error
}

// detectRaces, in the environment of a command, keeps the race detector on.
const detectRaces = "LATCHKEY_TEST_DETECT_RACES=1"

// program returns the program for a command. Without the race detector a command
// starts three times as fast.
func program(t testing.TB, env []string) string {
	t.Helper()
	if !raceDetector || slices.Contains(env, detectRaces) {
		return os.Args[0]
	}
	built.Do(func() {
		if built.folder, built.err = os.MkdirTemp("", "latchkey-command-"); built.err != nil {
			return
		}
		if output, err := exec.Command("go", "test", "-c", "-ldflags=-s -w", "-o", filepath.Join(built.folder, "latchkey.test"), ".").CombinedOutput(); err != nil {
			built.err = errors.New(string(output))
		}
	})
	must(t, built.err)
	return filepath.Join(built.folder, "latchkey.test")
}
