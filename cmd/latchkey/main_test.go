package main

import (
	"io"
	"os"
	"testing"
)

// asCommand makes the test binary be the command, so that what is run is what
// was compiled, race detector included.
const asCommand = "LATCHKEY_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) == "" {
		os.Exit(m.Run())
	}
	go func() {
		// The other end is held by the test alone: however that ends, this
		// process does not outlive it.
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	main()
	os.Exit(0)
}
