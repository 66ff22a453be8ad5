//go:build browser

package testbrowser

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// The example app in two tabs and on two devices: each page shows within seconds, and
// without a reload, that its user was signed out elsewhere.
func TestTheExampleAppIsLiveAcrossTabsAndDevices(t *testing.T) {
	listen, latchkey := "localhost:"+unusedPort(t), unusedPort(t)
	program := filepath.Join(t.TempDir(), "app")
	if out, err := exec.Command("go", "build", "-o", program, "../../examples/app").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, stop := context.WithCancel(t.Context())
	app := exec.CommandContext(ctx, program, "-listen", listen, "-latchkey-port", latchkey)
	app.Dir, app.Stderr = "../..", os.Stderr
	app.Cancel = func() error { return app.Process.Signal(os.Interrupt) }
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = app.Wait() // the end that was asked for
	})
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(100 * time.Millisecond) { // its server is built first
		answer, err := http.Get("http://" + listen)
		if err == nil {
			answer.Body.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal("the app does not serve")
		}
	}
	s := &servers{page: "http://" + listen + "/"}
	s.script(t, "example_app.mjs")
}

// unusedPort returns a port on which no program listens at the moment.
func unusedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
